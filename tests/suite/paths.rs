//! Ways to write a path: whichever is tried, a method is called with its own
//! requirement only, for the requirement is looked up by the method.

use std::sync::Arc;

use proto::access::{Permission, Requirement, requirement, scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use transcoder::{Rule, Transcoder};

use crate::support::World;

/// A request as it stands, which no library has made sense of before.
async fn status(address: &str, method: &str, path: &str, authorization: Option<&str>) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let credential = match authorization {
        Some(value) => format!("authorization: {value}\r\n"),
        None => String::new(),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{credential}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // What is no HTTP may be cut off.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    // EMQX takes any status but 200 for a fault: it is refused by what is said.
    if answer.contains(r#""result":"deny""#) {
        return 403;
    }
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.unwrap_or_default()
}

/// A path of a rule, with ids that nothing has.
fn example(rule: &Rule) -> String {
    let mut path = String::new();
    let mut rest = rule.template.as_str();
    while let Some((before, variable)) = rest.split_once('{') {
        let (_, after) = variable.split_once('}').unwrap();
        path += before;
        path += "0198c5a2-7d1e-7bd0-9a3c-000000000001";
        rest = after;
    }
    path + rest
}

/// Other ways to write a path, which some servers take for the same.
fn variants(path: &str) -> Vec<String> {
    let encoded = |at: usize| {
        let byte = path.as_bytes()[at];
        format!("{}%{byte:02x}{}", &path[..at], &path[at + 1..])
    };
    let second = path[1..].find('/').map_or(path.len(), |at| at + 1);
    let last = path.rfind('/').unwrap_or_default() + 1;
    let (first, rest) = path.split_at(second);
    let mut ways = vec![
        path.to_owned(),
        format!("/{path}"),
        format!("//{path}"),
        format!("/.{path}"),
        format!("/..{path}"),
        format!("{first}/.{rest}"),
        format!("{first}/..{first}{rest}"),
        format!("{first}/%2e%2e{first}{rest}"),
        format!("{first}/{rest}"),
        format!("{path}/"),
        format!("{path}//"),
        format!("{path}/."),
        format!("{path}/x/.."),
        format!("{path};x=1"),
        format!("{first};x=1{rest}"),
        format!("{path}%20"),
        format!("{path}%00"),
        format!("{path}%3fx"),
        format!("{path}%23x"),
        format!("{path}?x"),
        format!("{path}#x"),
        path.to_uppercase(),
        path.replace('/', "%2f"),
        path.replace('/', "\\"),
        path.replace(':', "%3a"),
        format!("{first}%2f{}", rest.trim_start_matches('/')),
        format!("http://localhost{path}"),
        format!("http://localhost/{path}"),
        encoded(1),
        encoded(1).replace('%', "%25"),
    ];
    if last < path.len() {
        ways.push(encoded(last));
        ways.push(encoded(path.len() - 1));
    }
    ways
}

/// Everything that was let in, of all ways to write the paths of these rules.
async fn let_in(
    world: &World,
    authorization: Option<&str>,
    wanted: impl Fn(Requirement) -> bool,
) -> Vec<String> {
    let address: Arc<str> = world.server.url.trim_start_matches("http://").into();
    let rules = Transcoder::builder(proto::DESCRIPTOR_SET).build().unwrap();
    let rules: Vec<Rule> = rules.rules().cloned().collect();
    let (mut tasks, mut asked) = (JoinSet::new(), 0);
    for rule in rules {
        if !wanted(requirement(&rule.method.path).unwrap()) {
            continue;
        }
        let (address, credential) = (address.clone(), authorization.map(str::to_owned));
        let method = rule.http_method.as_ref().map_or("POST", |m| m.as_str());
        let method = method.to_owned();
        asked += 1;
        tasks.spawn(async move {
            let mut wrong = Vec::new();
            for path in variants(&example(&rule)) {
                let code = status(&address, &method, &path, credential.as_deref()).await;
                if !(400..500).contains(&code) || code == 429 {
                    wrong.push(format!("{code}: {method} {path}"));
                }
            }
            wrong
        });
    }
    assert!(asked > 50, "the contract has shrunk to {asked}");
    tasks.join_all().await.concat()
}

#[tokio::test]
async fn no_way_to_write_a_path_needs_no_credential() {
    let world = need!(World::new().await);
    let secured = |requirement| requirement != Requirement::Public;
    let wrong = let_in(&world, None, secured).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn no_way_to_write_a_path_needs_less_than_its_permission() {
    let world = need!(World::new().await);
    let own = Permission::KeysRead;
    let holder = world.alice.key_holder(&[scope(own)]).await;
    let others = |requirement| matches!(requirement, Requirement::Permission(p) if p != own);
    let wrong = let_in(&world, holder.authorization.as_deref(), others).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The key does work.
    holder.get("/v1/apiKeys").await.expect(200);
}
