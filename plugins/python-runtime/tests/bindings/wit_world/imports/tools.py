"""`toolcell:guest/tools`, without a host."""

from dataclasses import dataclass



@dataclass
class Tool:
    name: object
    title: object
    description: object
    input_schema: object
    output_schema: object
    read_only: object
    idempotent: object
    destructive: object


@dataclass
class Media:
    data: object
    mime_type: object


@dataclass
class ContentBlock_Text:
    value: object


@dataclass
class ContentBlock_Image:
    value: object


@dataclass
class ContentBlock_Audio:
    value: object


@dataclass
class ContentBlock_Resource:
    value: object


@dataclass
class ContentBlock_Other:
    value: object


@dataclass
class Output:
    content: object
    structured: object
    is_error: object


@dataclass
class InvalidArguments:
    path: object
    message: object


@dataclass
class TimedOut:
    after_ms: object
    phase: object
    message: object


@dataclass
class Rejected:
    code: object
    message: object
    data: object


@dataclass
class Exhausted:
    limit_name: object
    limit: object
    used: object
    message: object


@dataclass
class CallError_Denied:
    value: object


@dataclass
class CallError_UnknownTool:
    value: object


@dataclass
class CallError_InvalidArguments:
    value: object


@dataclass
class CallError_Unavailable:
    value: object


@dataclass
class CallError_TimedOut:
    value: object


@dataclass
class CallError_Rejected:
    value: object


@dataclass
class CallError_Exhausted:
    value: object


@dataclass
class CallError_Cancelled:
    pass


@dataclass
class CallError_Interrupted:
    value: object


@dataclass
class Completion:
    id: object
    answer: object


def _no_host(*arguments):
    raise NotImplementedError


servers = names = describe = call = start = wait = cancel = _no_host
