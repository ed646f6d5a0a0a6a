//! The other end of `misbehaving-mcp proxy`: MCP as lines, carried by a child process. The child's
//! first line says its process id and its variable `TOKEN`.

use std::io::{self, BufRead as _, BufReader};
use std::sync::Arc;
use std::thread;

use super::plan::Deed;
use super::socket::{Framing, Socket};
use super::{Seen, Shared, lock};
use crate::tiny_mcp::Request;

impl Shared {
    pub(super) fn serve_lines(self: &Arc<Self>, socket: &Arc<Socket>) -> io::Result<()> {
        let mut lines = BufReader::new(socket.stream()).lines();
        let Some(hello) = lines.next().transpose()? else { return Ok(()) };
        let (process, token) = hello.split_once(' ').unwrap_or((&hello, ""));
        let process: i32 = process.parse().map_err(io::Error::other)?;
        lock(&self.children).push(process);
        socket.carry(Framing::Lines);
        for line in lines {
            let Ok(line) = line else { break };
            let Some(message) = Request::parse(&line) else { continue };
            let (connection, token) = (socket.number, token.to_owned());
            self.note(Seen { connection, session: None, token, message: message.clone() });
            let (server, socket) = (Arc::clone(self), Arc::clone(socket));
            // Each in a thread of its own, as a good server works on several at once.
            thread::spawn(move || {
                let deed = server.deed(&message);
                server.perform_in_stream(&socket, deed)
            });
        }
        lock(&self.children).retain(|child| *child != process);
        Ok(())
    }

    /// Does what is to be done about one message, over a stream of messages.
    pub(super) fn perform_in_stream(&self, socket: &Socket, deed: Deed) -> io::Result<()> {
        match deed {
            Deed::Nothing => Ok(()),
            Deed::Answer(answers) => answers.iter().try_for_each(|answer| socket.send(answer)),
            Deed::Half(answer) => socket.send_half(&answer),
            Deed::Exit => {
                self.exit();
                Ok(())
            }
            Deed::Reset(answer) => {
                socket.send_half(&answer)?;
                socket.reset();
                Ok(())
            }
            Deed::Close => {
                socket.close();
                Ok(())
            }
            // These belong to HTTP, which has dealt with them before.
            Deed::Status(_) | Deed::MediaType(_) => Ok(()),
        }
    }
}
