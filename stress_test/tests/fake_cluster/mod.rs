//! Three small nodes that speak the protocol, keep images in memory, and lie in exactly one way, or not at all.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use pixseal::balancer;
use pixseal::http::answer::{Answer, CONTINUE};
use pixseal::http::body::Body;
use pixseal::http::head::{self, Framing, Method};
use pixseal::http::inbox::Inbox;
use pixseal::http::target::Target;
use pixseal::roster::{NodeId, Roster};

/// The one thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Nothing.
    None,
    /// Node 3 takes everything.
    AllToOne,
    /// Node 2 leaves everything to node 3.
    OneNever,
    /// Node 1 accepts some images that are not its own, beside the node that should.
    TwoAccept,
    /// Some images are taken by the node after the one that should.
    WrongNode,
    /// One image comes back with a byte changed.
    OtherBytes,
    /// One image is acknowledged and not kept.
    LosesOne,
    /// One image is overwritten only in the receipt: the copy from before is still served.
    LosesOverwrite,
    /// Not a lie: one image is written once more after its receipt, as by an upload that was repeated and came late.
    WritesAgain,
    /// Receipts name no version and no entity tag, as those of older nodes.
    NoVersions,
    /// Receipts are sent before the body is read.
    EarlyReceipt,
    /// Receipts say that only their own node is alive.
    OwnView,
    /// Receipts are for another size.
    WrongReceipt,
    /// Offers are never answered.
    Mute,
}

/// The image that lies about single images are about.
const VICTIM: &str = "stress_image_7.png";

/// The nodes; their threads end with the test's process.
pub(crate) struct FakeCluster {
    lie: Lie,
    addresses: Vec<String>,
    images: Mutex<BTreeMap<String, Held>>,
    /// Writes so far, which versions count.
    writes: AtomicU64,
}

/// An image, by its name.
struct Held {
    holder: NodeId,
    write: u64,
    content: Vec<u8>,
}

impl Held {
    fn version(&self) -> String {
        version(self.write, self.holder)
    }

    fn etag(&self) -> String {
        etag(self.write)
    }
}

fn version(write: u64, node: NodeId) -> String {
    format!("{write}.0.{node}")
}

fn etag(write: u64) -> String {
    format!("\"copy-{write}\"")
}

impl FakeCluster {
    /// Starts three nodes.
    pub(crate) fn start(lie: Lie) -> Arc<FakeCluster> {
        let listeners: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addresses: Vec<String> = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().to_string())
            .collect();
        let fake_cluster = Arc::new(FakeCluster {
            lie,
            addresses,
            images: Mutex::default(),
            writes: AtomicU64::new(1),
        });
        for (id, listener) in (1..).map(NodeId).zip(listeners) {
            let fake_cluster = Arc::clone(&fake_cluster);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let fake_cluster = Arc::clone(&fake_cluster);
                    thread::spawn(move || fake_cluster.serve(id, stream));
                }
            });
        }
        fake_cluster
    }

    /// The text of the cluster file.
    pub(crate) fn file(&self) -> String {
        let lines: Vec<String> = (1..)
            .zip(&self.addresses)
            .map(|(id, address)| format!("{id} = \"{address}\"\n"))
            .collect();
        format!("[nodes]\n{}", lines.concat())
    }

    /// How many images the nodes hold.
    pub(crate) fn stored(&self) -> usize {
        self.images.lock().unwrap().len()
    }

    fn serve(&self, own: NodeId, mut stream: TcpStream) -> Option<()> {
        let mut inbox = Inbox::default();
        loop {
            let request = loop {
                if let Some((head, length)) = head::parse(inbox.unread()).ok()? {
                    let target = Target::parse(head.target).ok()?;
                    let segments: Vec<String> = target.segments.iter().map(ToString::to_string).collect();
                    let request = (head.method, segments, head.framing, target.asks("version"));
                    inbox.consume(length);
                    break request;
                }
                if inbox.fill(&mut stream).ok()? == 0 {
                    return None;
                }
            };
            let path: Vec<&str> = request.1.iter().map(String::as_str).collect();
            let answer = match (request.0, &path[..]) {
                (Method::Get, ["cluster"]) => self.cluster(own),
                (Method::Put, ["images", user, name]) => {
                    self.put(own, user, name, request.2, &mut inbox, &mut stream)?
                }
                (Method::Get, ["images", _, name]) if request.3 => Some(self.holding(own, name)),
                (Method::Get, ["images", user, name]) => self.get(own, user, name),
                _ => Some(Answer::text(404, "not here")),
            };
            if let Some(answer) = answer {
                send(&mut stream, &answer)?;
            }
        }
    }

    fn cluster(&self, own: NodeId) -> Option<Answer> {
        Some(Answer::json(
            200,
            format!(r#"{{"node":{own},"leader":3,"term":1,"alive":[1,2,3]}}"#),
        ))
    }

    /// Who takes an image, by these nodes' rule.
    fn taker(&self, user: &str, name: &str) -> NodeId {
        let roster = Roster::new(NodeId(1), [NodeId(2), NodeId(3)]);
        let assigned = balancer::assigned(user, name, &roster);
        match self.lie {
            Lie::AllToOne => NodeId(3),
            Lie::OneNever if assigned == NodeId(2) => NodeId(3),
            Lie::WrongNode if is_chosen(user, name) => NodeId(assigned.0 % 3 + 1),
            _ => assigned,
        }
    }

    /// `None`: the connection is of no more use; `Some(None)`: everything was said.
    fn put(
        &self,
        own: NodeId,
        user: &str,
        name: &str,
        framing: Framing,
        inbox: &mut Inbox,
        stream: &mut TcpStream,
    ) -> Option<Option<Answer>> {
        if self.lie == Lie::Mute {
            let _ = stream.read(&mut [0]);
            return None;
        }
        let taker = self.taker(user, name);
        let butts_in = self.lie == Lie::TwoAccept && own == NodeId(1) && is_chosen(user, name);
        if own != taker && !butts_in {
            return Some(Some(self.redirect(taker, user, name)));
        }
        let Framing::Length(announced) = framing else {
            return Some(Some(Answer::text(411, "how long?")));
        };
        stream.write_all(CONTINUE).ok()?;
        let bytes = if self.lie == Lie::WrongReceipt {
            announced + 1
        } else {
            announced
        };
        let alive = if self.lie == Lie::OwnView {
            vec![own.0]
        } else {
            vec![1, 2, 3]
        };
        let write = self.writes.fetch_add(2, Ordering::Relaxed);
        let mut receipt = serde_json::json!({
            "user": user, "name": name, "bytes": bytes, "node": own, "term": 1, "alive": alive,
            "version": version(write, own), "etag": etag(write),
        });
        if self.lie == Lie::NoVersions {
            receipt["version"].take();
            receipt["etag"] = "".into();
        }
        let receipt = Answer::json(201, receipt.to_string());
        if self.lie == Lie::EarlyReceipt {
            send(stream, &receipt)?;
        }
        let (mut content, mut room, mut body) = (Vec::new(), vec![0; 64 << 10], Body::new(framing));
        loop {
            match body.read(inbox, stream, &mut room).ok()? {
                0 => break,
                count => content.extend_from_slice(&room[..count]),
            }
        }
        self.keep(own, name, write, content);
        Some((self.lie != Lie::EarlyReceipt).then_some(receipt))
    }

    fn keep(&self, own: NodeId, name: &str, write: u64, content: Vec<u8>) {
        let mut images = self.images.lock().unwrap();
        let write = match self.lie {
            Lie::LosesOne if name == VICTIM => return,
            Lie::LosesOverwrite if name == VICTIM && images.contains_key(name) => return,
            Lie::WritesAgain if name == VICTIM => write + 1,
            _ => write,
        };
        let held = Held {
            holder: own,
            write,
            content,
        };
        images.insert(name.to_owned(), held);
    }

    /// What a node holds of a name.
    fn holding(&self, own: NodeId, name: &str) -> Answer {
        let images = self.images.lock().unwrap();
        let held = images.get(name).filter(|held| held.holder == own);
        let copy = held.map(|held| {
            serde_json::json!({"version": held.version(), "deleted": false, "etag": held.etag(), "modified": 0})
        });
        let holding = serde_json::json!({"node": own, "view": null, "copy": copy, "away": []});
        Answer::json(200, holding.to_string())
    }

    fn get(&self, own: NodeId, user: &str, name: &str) -> Option<Answer> {
        let images = self.images.lock().unwrap();
        Some(match images.get(name) {
            Some(held) if held.holder != own => self.redirect(held.holder, user, name),
            Some(held) => {
                let mut content = held.content.clone();
                if self.lie == Lie::OtherBytes && name == VICTIM {
                    let middle = content.len() / 2;
                    content[middle] ^= 1;
                }
                Answer::empty(200)
                    .field("ETag", held.etag())
                    .content("image/png", content)
            }
            None => Answer::text(404, "no such image"),
        })
    }

    fn redirect(&self, to: NodeId, user: &str, name: &str) -> Answer {
        let address = &self.addresses[to.0 as usize - 1];
        Answer::text(307, format!("Request assigned to Node {to}"))
            .field("Location", format!("http://{address}/images/{user}/{name}?hop=1"))
    }
}

fn send(stream: &mut TcpStream, answer: &Answer) -> Option<()> {
    let mut bytes = Vec::new();
    answer.encode(&mut bytes, true, false);
    stream.write_all(&bytes).ok()
}

/// One image in eight.
fn is_chosen(user: &str, name: &str) -> bool {
    (balancer::hash(user, name) >> 32).is_multiple_of(8)
}
