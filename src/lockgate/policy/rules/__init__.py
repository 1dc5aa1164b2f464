"""All rules, one file a family. Importing this package fills the registry."""

from lockgate.policy.registry import HAZARDS as HAZARDS
from lockgate.policy.rules import columns as columns
from lockgate.policy.rules import constraints as constraints
from lockgate.policy.rules import data as data
from lockgate.policy.rules import indexes as indexes
from lockgate.policy.rules import objects as objects
from lockgate.policy.rules import tables as tables
from lockgate.policy.rules import transactions as transactions
from lockgate.policy.rules import types as types
