// A Lambda runtime in Rust, of its standard library alone: answers each event with itself in a list.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

// Sends one request on a connection of its own; the answer's request id and body.
fn call(method: &str, path: &str, data: &str) -> std::io::Result<(String, String)> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").expect("AWS_LAMBDA_RUNTIME_API");
    let mut connection = TcpStream::connect(&api)?;
    write!(
        connection,
        "{method} /2018-06-01/runtime/invocation/{path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n{data}",
        data.len()
    )?;
    let mut reader = BufReader::new(connection);
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = value.trim().to_string(),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((id, String::from_utf8_lossy(&body).into_owned()))
}

fn main() -> std::io::Result<()> {
    loop {
        let (id, event) = call("GET", "next", "")?;
        call("POST", &format!("{id}/response"), &format!("[{event}]"))?;
    }
}
