"""Whatever the documented interface lets in, and what it does not, is answered as documented: never a failure."""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from stages.serving.app import create_app
from stages.serving.limits import Limits
from stages.serving.model_manager import ModelManager
from stages.serving.request_guard import Access

limits = Limits(max_bytes=1_000_000, max_megapixels=1, timeout_s=20)
served = ModelManager(["telea"], None, 60, limits)
served.load_first()
app = create_app(served, limits, Access(["*"]))
schema = schemathesis.openapi.from_asgi("/openapi.json", app)


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_documented(case: schemathesis.Case) -> None:
    # Bytes that are no picture fit the schema, and are refused all the same.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
