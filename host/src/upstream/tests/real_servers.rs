//! By hand, against servers that people use:
//!
//! ```text
//! TRY_STDIO="npx -y @modelcontextprotocol/server-everything" TRY_CALL='echo {"message":"hi"}' \
//!     cargo test -p toolcell --lib real_server -- --ignored --nocapture
//! TRY_HTTP=http://127.0.0.1:3001/mcp …
//! ```

use std::time::Instant;

use super::{call, http, only, stdio, upstream_name};

#[tokio::test]
#[ignore = "needs a server, named in the environment"]
async fn a_real_server() {
    let transport = if let Ok(line) = std::env::var("TRY_STDIO") {
        let words: Vec<&str> = line.split_whitespace().collect();
        stdio(words[0], &words[1..], &[])
    } else {
        http(&std::env::var("TRY_HTTP").expect("TRY_STDIO or TRY_HTTP"))
    };
    let upstreams = only(transport);
    let report = upstreams.check(&upstream_name("s")).await;
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
    let calls = std::env::var("TRY_CALL").unwrap_or_default();
    for line in calls.lines() {
        let (tool, arguments) = line.split_once(' ').unwrap_or((line, "{}"));
        let started = Instant::now();
        let output = call(&upstreams, tool, arguments).await;
        println!("{:?} {tool}: {output:?}", started.elapsed());
        if let Err(error) = output {
            println!("    {error}");
        }
    }
    upstreams.catalog(&upstream_name("s")).await.ok();
    let started = Instant::now();
    upstreams.close().await;
    println!("closed in {:?}", started.elapsed());
}
