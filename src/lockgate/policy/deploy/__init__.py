"""Does a deployment run migrations where an application starts? Files in, findings out; nothing is executed."""

from lockgate.policy.deploy.kinds import KINDS as KINDS
from lockgate.policy.deploy.kinds import DeployFinding as DeployFinding
from lockgate.policy.deploy.scan import judge_text as judge_text
from lockgate.policy.deploy.scan import scan as scan
