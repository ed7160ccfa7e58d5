//! The last words to a client that speaks plain text where TLS is spoken: an error that its library can show.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What the client gets to hear it.
const TIME_MAX: Duration = Duration::from_secs(1);
/// What is read of what it still sends: closing with unread bytes resets the connection, and our words with it.
const READ_BYTES_MAX: usize = 64 * 1024;

const WORDS: &str = "this port speaks TLS; use https\n";
/// The first byte of a TLS handshake (RFC 8446, section 5.1: content type 22).
pub(super) const HANDSHAKE: u8 = 22;

/// An HTTP/2 frame on stream 0 (RFC 9113, section 4.1).
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, 0, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}

/// HTTP/2: our settings, and a GOAWAY with INADEQUATE_SECURITY (0xc) and the words as debug data.
fn go_away() -> Vec<u8> {
    let mut payload = vec![0, 0, 0, 0, 0, 0, 0, 0xc];
    payload.extend(WORDS.trim_end().as_bytes());
    [frame(4, &[]), frame(7, &payload)].concat()
}

fn bad_request() -> Vec<u8> {
    let length = WORDS.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{WORDS}"
    )
    .into_bytes()
}

/// Says it in the client's own protocol, as far as that can be told, and closes.
pub(super) async fn turn_away(mut stream: TcpStream) {
    let farewell = async {
        let mut first = [0; 3];
        stream.read_exact(&mut first).await?;
        if first == *b"PRI" {
            stream.write_all(&go_away()).await?;
        } else if first.iter().all(u8::is_ascii_uppercase) {
            stream.write_all(&bad_request()).await?;
        }
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        let mut left = READ_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    let _whatever_it_did_it_is_gone = timeout(TIME_MAX, farewell).await;
}
