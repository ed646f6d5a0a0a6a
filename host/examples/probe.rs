use std::sync::Arc;
use std::time::Instant;
use toolcell::limits::Limits;
use toolcell::sandbox::*;
use toolcell::ids::CallId;
use toolcell::tool::*;
use toolcell::limits::*;
use tokio_util::sync::CancellationToken;

struct Echo(u64, Vec<(CallId, CallAnswer)>);
#[async_trait::async_trait]
impl RunCalls for Echo {
    fn servers(&self) -> Vec<String> { vec!["s".into()] }
    async fn names(&mut self, _s: &str) -> Result<Vec<String>, CallError> { Ok(vec!["echo".into()]) }
    async fn describe(&mut self, _n: &str) -> Result<ToolDescription, CallError> { Err(CallError::Cancelled) }
    async fn call(&mut self, r: CallRequest) -> CallAnswer { self.0 += 1; Ok(ToolOutput::text(r.arguments)) }
    fn start(&mut self, r: CallRequest) -> Result<CallId, LimitReached> { self.0 += 1; self.1.push((CallId(self.0), Ok(ToolOutput::text(r.arguments)))); Ok(CallId(self.0)) }
    async fn wait(&mut self, t: Option<std::time::Duration>) -> Vec<(CallId, CallAnswer)> { if self.1.is_empty() { if let Some(t)=t { tokio::time::sleep(t).await } } std::mem::take(&mut self.1) }
    fn cancel(&mut self, _id: CallId) {}
    fn count(&self) -> u64 { self.0 }
}
fn surr() -> Surroundings { Surroundings { limits: Limits::default(), calls: Box::new(Echo(0, vec![])), live: None, directories: vec![], seed: 7, repeatable: true } }
fn prog(s: &str) -> Program { Program { language: Language::Python, name: "script.py".into(), source: s.into(), input: None, allowed_imports: None } }

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let t = Instant::now();
    let cache = Cache::open(std::path::Path::new(&std::env::var("TOOLCELL_CACHE_DIR").unwrap())).unwrap();
    let sb = Sandbox::new(cache, 4).unwrap();
    println!("engine {:?}", t.elapsed());
    let t = Instant::now();
    sb.prepare(Language::Python, Arc::new(|s: &str| eprintln!("{s}"))).await.unwrap();
    println!("prepare {:?}", t.elapsed());
    let c = CancellationToken::new();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.is_empty() {
        for a in &args { let t = Instant::now(); let e = sb.execute(prog(a), surr(), &c).await.unwrap(); println!("{:?}\n{:#?}", t.elapsed(), e); }
        return;
    }
    for src in ["1+1", "sum(range(1000))", "import tools\nfor i in range(1000): tools.s.echo(a=1)", "for i in range(1000000): pass", "sum(i*i for i in range(10**6))", "import asyncio\nawait asyncio.gather(*(aio.s.echo(a=1) for i in range(1000)))\n1"] {
        let mut v = vec![];
        let mut fuel = vec![];
        for _ in 0..15 { tokio::time::sleep(std::time::Duration::from_millis(3)).await; let t = Instant::now(); let e = sb.execute(prog(src), surr(), &c).await.unwrap(); v.push(t.elapsed()); fuel.push(e.usage.fuel); if !matches!(e.outcome, Outcome::Value(_)) { println!("{:?}", e); } }
        v.sort();
        println!("{src:60} median {:?} min {:?} fuel {:?}", v[7], v[0], &fuel[..3]);
    }
}
