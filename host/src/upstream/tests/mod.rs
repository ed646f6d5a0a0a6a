//! Upstreams end to end, against small servers written in shell.

mod faults;
mod http_faults;
mod processes;
mod sse_faults;

use std::time::Duration;

use serde_json::value::RawValue;

use crate::ids::{ToolName, UpstreamName};
use crate::tool::ToolOutput;
use crate::upstream::settings::{HttpSettings, Secret, TransportSettings, UpstreamSettings};
use crate::upstream::{CallContext, Caller, UpstreamError, Upstreams};

const PATIENCE: Duration = Duration::from_secs(20);

fn upstream_name(name: &str) -> UpstreamName {
    UpstreamName::try_new(name).unwrap()
}

fn settings(name: &str, transport: TransportSettings) -> UpstreamSettings {
    UpstreamSettings::new(upstream_name(name), transport)
}

fn stdio(command: &str, args: &[&str], env: &[(&str, &str)]) -> TransportSettings {
    TransportSettings::Stdio {
        command: command.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
        cwd: None,
    }
}

fn http(url: &str) -> TransportSettings {
    TransportSettings::Http(HttpSettings::new(url))
}

/// Upstreams with one server `s`.
fn only(transport: TransportSettings) -> Upstreams {
    Upstreams::new(vec![settings("s", transport)], None).unwrap()
}

async fn call(
    upstreams: &Upstreams,
    tool: &str,
    arguments: &str,
) -> Result<ToolOutput, UpstreamError> {
    call_within(upstreams, tool, arguments, PATIENCE).await
}

async fn call_within(
    upstreams: &Upstreams,
    tool: &str,
    arguments: &str,
    timeout: Duration,
) -> Result<ToolOutput, UpstreamError> {
    let name = ToolName::new(upstream_name("s"), tool);
    let arguments = RawValue::from_string(arguments.to_owned()).unwrap();
    upstreams
        .access(Caller::anonymous())
        .call(&name, &arguments, timeout, CallContext::default())
        .await
}

/// A legacy MCP server in shell. Each tool does what its name says.
const SHELL_SERVER: &str = r#"
echo "starting $$" >&2
result() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
error() { printf '{"jsonrpc":"2.0","id":%s,"error":%s}\n' "$id" "$1"; }
text() { result '{"content":[{"type":"text","text":"'"$1"'"}]}'; }
calls=0
cancelled=0
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"jsonrpc":"2.0","id":\([0-9]*\).*/\1/p')
  case "$line" in
    *'"method":"server/discover"'*) error '{"code":-32601,"message":"Method not found"}';;
    *'"method":"initialize"'*) result '{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"shell","version":"1"}}';;
    *'"method":"tools/list"'*) result '{"tools":[{"name":"echo","inputSchema":{"type":"object"}},{"name":"pid'$calls'","inputSchema":{"type":"object"}}]}';;
    *notifications/cancelled*) cancelled=$((cancelled+1));;
    *'"name":"echo"'*) calls=$((calls+1)); text ok;;
    *'"name":"pid"'*) text $$;;
    *'"name":"cancelled"'*) text $cancelled;;
    *'"name":"changed"'*) calls=99; printf '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'; text ok;;
    *'"name":"banner"'*) echo 'listening on stdio...'; echo '{"level":"info"}'; text ok;;
    *'"name":"hang"'*) ;;
    *'"name":"die"'*) echo "no more, $SECRET" >&2; exit 3;;
    *'"name":"killed"'*) kill -9 $$;;
    *'"name":"reject"'*) error '{"code":-32602,"message":"bad arguments for '$SECRET'","data":{"why":1}}';;
    *'"name":"fail"'*) result '{"content":[{"type":"text","text":"no luck"}],"isError":true}';;
    *'"name":"huge"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"x":"' "$id"; head -c 17000000 /dev/zero | tr '\0' x; printf '"}}\n';;
    *'"name":"huge_ts"'*) printf '{"result":{"x":"'; head -c 17000000 /dev/zero | tr '\0' x; printf '"},"jsonrpc":"2.0","id":%s}\n' "$id";;
    *'"name":"deep"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"structuredContent":' "$id"; head -c 10000 /dev/zero | tr '\0' '['; head -c 10000 /dev/zero | tr '\0' ']'; printf '}}\n';;
    *'"name":"noise"'*) while :; do head -c 60000 /dev/zero | tr '\0' n; echo; done;;
    *'"name":"close_stdout"'*) exec 1>&-; sleep 1000;;
    *'"name":"ask"'*) call=$id; printf '{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}\n'; read -r answer; id=$call; text "$(printf '%s' "$answer" | tr -d '"\\')";;
    *'"name":"environment"'*) text "$(env | cut -d= -f1 | sort | tr '\n' ' ')";;
    *'"name":"input"'*) result '{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create"}},"requestState":"x"}';;
    *'"id":'*) error '{"code":-32602,"message":"unknown tool"}';;
  esac
done
"#;

fn shell_server() -> TransportSettings {
    stdio("sh", &["-c", SHELL_SERVER], &[("SECRET", "swordfish-1")])
}
