//! pixseal: a cluster of upload servers that seal each image on exactly one node.
//!
//! # The way of an image
//!
//! ```text
//! socket → acceptor → queue → worker → request → node: admit → intake → sealer → store → receipt
//!          server                                      │ balancer  image   seal    durable
//! ```
//!
//! A client offers an image to every node. Each node computes SHA-256(user, name) mod the sorted alive ids, and exactly
//! one finds its own id there. That one takes the body, checks that it is a PNG, encrypts it segment by segment while
//! the next segment arrives, makes it durable and answers; the others redirect to it before any of the body is sent.
//!
//! # Where things happen
//!
//! | What | Where |
//! |---|---|
//! | a connection is accepted, and given to a worker | [`server::acceptor`], [`server::workers`] |
//! | a request is read, let in and understood | [`server::serve`], [`server::gate`], [`server::request`] |
//! | its sender may have it done, or not | [`server::authorize`], by [`tokens`] and [`ticket`] |
//! | an upload is admitted or sent to another node | [`node::admit`], by [`balancer`] |
//! | its bytes arrive and are checked | [`node::intake`], by [`image`] |
//! | they are encrypted | [`node::sealer`], in the threads of [`sealing::pool`], by [`seal`] |
//! | they reach the disk | [`store::draft`], by [`durable`] |
//! | the image gets its name, and the write is confirmed | [`node::commit`]; older never replaces newer: [`store::Store`] |
//! | the receipt is built | [`node::receive`]; its JSON is [`report::Receipt`] |
//! | a status code is chosen | [`server::answers`]; of conditions and ranges, [`server::download`]; a list to look at: [`server::html`] |
//! | a person looks at the cluster in a browser | [`mod@server::page`], made of the three files in `src/page/` |
//! | an image is found, sent, removed, listed | [`node::find`], [`node::send`], [`node::delete`], [`node::list`] |
//! | which of several copies counts | [`version::newest`]; the nodes are asked by [`node::lookup`], over [`node::peers`] |
//! | copies are brought to their node | [`node::settle`], [`node::hand_over`], [`node::take_over`] |
//! | a node knows that it may answer alone | [`lease`] |
//! | a node sees that it cannot take images | [`node::disk`], from what [`store::Store`] notes; [`node::unable`] says why |
//! | nodes agree on who is alive | [`cluster`] runs [`election`] |
//!
//! # The rooms
//!
//! What thinks is pure: no socket, file, thread, clock or random number.
//!
//! - [`roster`]: node ids, and the sorted set of those that are alive
//! - [`balancer`]: user, name and roster → who takes the image
//! - [`version`]: the order of writes, and which of several copies is the image
//! - [`ticket`]: signed claims: redirects, and what nodes ask each other
//! - [`tokens`]: who may do what
//! - [`condition`]: whether a node can take images, and why not
//! - [`lease`]: what a node may answer alone, and what absent nodes can hold
//! - [`turns`]: a queue in which clients take turns
//! - [`image_id`]: user and name, checked, and the file name that maps back to them
//! - [`members`]: the configured nodes and their addresses
//! - [`election`]: Bully, failure detection and the authenticated datagrams between nodes
//! - [`image`]: is this a PNG that we accept?
//! - [`keyset`]: Tink's JSON keyset ↔ keys
//! - [`seal`]: bytes ↔ sealed segments, in Tink's format
//! - [`report`]: the JSON that nodes speak, written and read by one definition
//! - [`http`]: heads, bodies and answers, for both ends
//!
//! What touches the world is thin.
//!
//! - [`durable`]: files that appear as a whole or not at all, in folders that are held open
//! - [`cluster_file`]: the cluster file on disk
//! - [`secrets`]: the keys on disk
//! - [`store`]: the sealed images on disk
//! - [`journal`]: the lines people watch
//! - [`standard_output`]: what the programs print
//! - [`priority`]: threads that work for clients give way to the heartbeat
//! - [`vital`]: threads without which a node must not go on
//! - [`sealing`]: the threads that encrypt, and the memory that images pass through
//! - [`socket`]: one connected socket, in the clear or under TLS, and how slow its other end may be
//! - [`tls`]: certificates, and sessions over a socket; with the feature of that name
//! - [`cluster`]: the only UDP socket; publishes the view that uploads are placed by
//! - [`client`]: upload, read, list, remove; for the programs and for nodes that ask each other
//! - [`node`]: what a node does with images; knows no request, answer or status code
//! - [`server`]: how it is asked; the only listener
//!
//! ```text
//! bin/*, stress_test → cluster_file → members
//! bin/server → server → node → { balancer, version, ticket, image, seal, sealing, store, cluster, client, report, socket }
//! server → { secrets, tokens, ticket, tls, turns, http, socket, report, client (one connection, to pass a request on) }
//! node → http (bodies alone)      store, secrets → durable        client (the shape of a token), secrets → tokens
//! sealing → { seal, store, turns }                cluster → { election, lease, report }           client, stress_test → { http, report }
//! socket → { tls, http (the inbox) }              client → { socket (the channel), tls }
//! store → { seal (headers), version, condition }  election → lease (facts)        lease → { balancer, version }
//! report → lease (times)
//! ```
//!
//! No arrow points back. [`server::Server::start`] puts the parts of a node together, so it names them too, and
//! [`server::answers`] names their errors.
//!
//! A type name has one meaning in all programs, with two exceptions: each room has one `Error`, written with the room's
//! name (`image::Error`), and each program has its `Config`. Tests and benchmarks name what they make up themselves.
//!
//! # What always holds
//!
//! `docs/consistency.md` says at length what a name holds while nodes come and go.
//!
//! - A receipt is sent only after the image is durable under its final name; a name appears only with all its bytes.
//! - After an acknowledged write no reader gets an earlier state, through any node; what cannot be known is not answered.
//! - One node takes writes of a name at a time. Of two copies the one with the later version counts, and nothing older
//!   ever takes its place; a deleted image leaves a tombstone until every member has heard of it.
//! - Without its images folder a node answers nothing about images: 404 means that there is none.
//! - Nothing leaves a node as an image that was not verified, and nothing is kept of an upload that was refused.
//! - Every node decides alone, from the view of the leader that it follows; all that follow one leader decide alike.
//! - Memory is bounded by configuration, never by what a client claims or by the size of an image.
//! - The thread that runs heartbeat and election waits for nothing that a worker can hold.
//! - No bytes from outside make a node panic; its own broken invariants do.

pub mod balancer;
pub mod client;
mod cluster;
pub mod cluster_file;
pub mod condition;
pub mod durable;
pub mod election;
pub mod http;
pub mod image;
pub mod image_id;
pub mod journal;
pub mod keyset;
pub mod lease;
pub mod members;
mod node;
mod priority;
pub mod report;
pub mod roster;
pub mod seal;
pub mod sealing;
pub mod secrets;
pub mod server;
mod socket;
pub mod standard_output;
pub mod store;
pub mod ticket;
pub mod timestamp;
pub mod tls;
pub mod tokens;
mod turns;
pub mod version;
mod vital;
