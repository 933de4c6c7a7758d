// Package h1 speaks HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) on the server's side of
// one connection. A [Conn] is a state machine that does not decide how to wait. It says
// what it wants next, and each server waits for that in its own way.
package h1

import (
	"errors"
	"io"

	"fourways.example/common/sock"
	"fourways.example/common/stream"
	"golang.org/x/sys/unix"
)

// Want is what a connection wants next.
type Want uint8

const (
	Read  Want = iota // call Fill when the socket is readable
	Write             // call Flush when the socket is writable
	Close             // the connection is over: call Close
)

// connState is the state of a connection. This table is the whole state machine:
//
//	state        wants  time-out        event → next state
//	idle         Read   idle            bytes of a request → "request", see below
//	                                    time-out, end of the stream, stop → leave
//	settling     Read   write, probed   bytes of a request → "request", see below
//	                                    everything acknowledged → idle
//	                                    end of the stream, stop → leave
//	                                    no progress → abort
//	readingHead  Read   head            head complete → readingBody, continuing or responding
//	                                    answer certain from the head → responding (refused)
//	                                    error, time-out, end of the stream → responding (refused)
//	continuing   Write  body            100 Continue sent → readingBody
//	                                    time-out → responding (refused), or leave if a part of the
//	                                    100 Continue is sent
//	readingBody  Read   body            body complete → responding
//	                                    error, time-out, end of the stream → responding (refused)
//	waiting      Read   tier            a tier connection is free → asking
//	                                    time-out → responding
//	asking       Write  tier            question sent → hearing
//	                                    error, time-out → responding, or asking on a fresh connection
//	hearing      Read   tier            reply complete → responding
//	                                    error, time-out → responding, or asking on a fresh connection
//	responding   Write  write, probed   last response sent → leave
//	                                    other response sent → idle, or settling if a response was large;
//	                                    if bytes of the next request are in the buffer, "request" at once
//	                                    file became shorter → leave
//	                                    no progress → abort
//	draining     Read   2 s             end of the stream → closed, or unheard if more than 16 KiB are
//	                                    unacknowledged
//	                                    time-out, more than 1 MiB read → closed, or unheard if anything
//	                                    is unacknowledged
//	lingering    Read   write, probed   everything acknowledged → closed, or draining if the client has
//	                                    sent more bytes
//	                                    end of the stream → as in draining
//	                                    no progress → abort
//	unheard      Read   write, probed   everything acknowledged, or a reset → closed
//	                                    no progress → abort
//	closed       Close  none            the server calls Close
//
// "Request": the next state depends on how much of the request has been read. A part of the
// head leads to readingHead, the whole head to readingBody or continuing, the whole request
// to responding, or to asking or waiting if the handler asks the other tier. An error, or an
// answer that is certain from the head, leads to responding (refused). Empty lines before a
// request change nothing.
//
// "Time-out" in idle, readingHead and readingBody: the server itself may be late, so
// before it acts, it reads the bytes that have arrived.
//
// "Probed": no event reports that the client has acknowledged bytes, so the connection asks
// the kernel at intervals. "No progress" means that for the whole write time-out the client
// has acknowledged nothing and the kernel has taken no more bytes.
//
// In waiting, asking and hearing the connection does not use the socket of its client: Want and
// FD concern the connection to the other tier, see [Response.Ask].
//
// "Leave" ends a connection after its last response, see [Conn.leave]. The next state is
// draining if the request was refused or the client has sent more bytes. Otherwise it is
// lingering if more than 16 KiB are unacknowledged, and closed if not. Before draining and
// lingering, the connection shuts down its sending side.
//
// "Abort" closes the connection with a reset, so that the kernel drops the bytes that the
// client does not read.
//
// If poll(2), a read or a write fails, in any state, Fill or Flush returns the error, and
// the server calls Close.
type connState uint8

const (
	idle        connState = iota // waiting for a request; every large response is acknowledged
	settling                     // waiting for a request; a large response is not acknowledged yet
	readingHead                  // a part of a request's head has arrived
	readingBody                  // the head is complete, but not the body
	continuing                   // sending 100 Continue before the body is read
	waiting                      // for a connection to the other tier
	asking                       // connecting to the other tier, and sending it a question
	hearing                      // receiving the reply of the other tier
	responding                   // sending a response
	draining                     // after the last response: read and drop what the client sends
	lingering                    // the same, until the client has acknowledged everything
	unheard                      // wait only for the acknowledgement, and read nothing more
	closed                       // the connection is over
)

// wanted is what a connection wants in each state.
var wanted = [...]Want{
	continuing: Write, asking: Write, responding: Write, closed: Close, // all other states want Read
}

const (
	// onePiece limits the buffer that holds a head and the start of its body, in bytes, so
	// that a small response needs one system call. It also limits how many bytes may be
	// unacknowledged when a socket is closed without lingering: a response that small is
	// nearly always delivered.
	onePiece = 16 << 10
	// drainBytes limits the bytes that are read and dropped after a refusal. A client that
	// sends more will hardly read the answer.
	drainBytes = 1 << 20
)

// Conn is one connection. [Worker.Open] makes it. It belongs to the thread of that worker.
//
// The thread asks Want again and again, and makes the call that Want names: Fill for [Read] or Flush
// for [Write], once each. [Close] says that the connection is over without an error. If Fill or Flush
// returns an error, the thread makes no further call now. After ErrAgain and
// ErrBudget the connection goes on later; any other error ends it. When it is over, the thread
// calls Conn.Close.
//
// On a blocking socket Fill and Flush wait, and they enforce the time-outs. On a
// non-blocking socket they return [sock.ErrAgain] if they would have to wait. The caller
// then waits until FD is ready for what Want says, calls Ready, and asks Want again. At
// the Deadline it calls Expire instead. The connection remembers everything else.
type Conn struct {
	sock     sock.Conn
	drained  int32 // bytes that were dropped after the last response
	worker   *Worker
	ex       *exchange  // the request under way; nil in idle and settling, unless an empty line has come
	received stream.Pos // bytes received before those of ex
	sent     int64      // bytes that the kernel took on the whole connection; the FIN counts as one
	acked    int64      // how many of these the client had acknowledged when the kernel was last asked
	since    int64      // when the time-out began or there was progress, as a value of now()
	probedAt int64      // when the last probe was or the kernel last took bytes, as a value of now()
	budget   int32      // system calls left, if limited
	state    connState
	probes   uint8 // probes since the class of deadline changed, at most probesSoon
	limited  bool  // SetBudget was called
	closing  bool  // this response is the last
	refused  bool  // the request was refused, so the bytes after it or its head are dropped
	bulky    bool  // a response larger than onePiece was sent, and may not be acknowledged yet
}

// Want returns what the connection wants next.
func (c *Conn) Want() Want { return wanted[c.state] }

// FD returns the descriptor to wait for. It is the one of the client's connection or, while
// the other tier is asked, of a connection to the tier. FD returns -1 if the caller must wait
// only for the Deadline: epoll would report the end of the client's stream forever, or no
// connection to the tier is free, see [Worker.Next].
func (c *Conn) FD() int {
	switch c.state {
	case unheard:
		return -1
	case waiting, asking, hearing:
		return c.ex.question.fd()
	}
	return c.sock.FD()
}

// Ready tells the connection that an event came for it. Only non-blocking connections
// need this.
func (c *Conn) Ready() {
	c.sock.Ready()
	if c.asks() && c.ex.question.tier != nil {
		c.ex.question.tier.Ready()
	}
}

// SetBudget allows n calls of Fill or Flush, each with one read or write. After these
// calls, Fill and Flush return [ErrBudget] without a system call, so that the caller can
// serve other connections. Without SetBudget there is no limit.
func (c *Conn) SetBudget(n int) { c.budget, c.limited = int32(n), true }

// useBudget takes one call from the budget. It returns false if none is left.
func (c *Conn) useBudget() bool {
	if c.limited {
		if c.budget == 0 {
			return false
		}
		c.budget--
	}
	return true
}

// Move gives an idle connection to another worker. Its idle time goes on. If the
// connection is not idle, Move does nothing and returns false.
func (c *Conn) Move(to *Worker) bool {
	if c.state != idle || c.ex != nil {
		return false
	}
	c.worker = to
	return true
}

// Fill reads once and parses the bytes. If a request is complete, Fill runs the handler.
func (c *Conn) Fill() error {
	if !c.useBudget() {
		return ErrBudget
	}
	if !c.sock.Nonblocking() {
		if ready, err := c.await(); !ready {
			return err
		}
	}
	switch c.state {
	case draining, lingering:
		return c.discard()
	case unheard:
		return sock.ErrAgain
	case waiting:
		return c.wait()
	case hearing:
		return c.hear()
	}
	if c.ex == nil && c.sock.Dry() && !c.worker.cfg.stopping() {
		return sock.ErrAgain // as the read would, but without borrowing an exchange for it
	}
	_, err := c.receive(&c.sock)
	if err == nil {
		return nil
	}
	if c.state == idle || c.state == settling {
		if c.ex.parser.untouched() {
			c.returnExchange()
		}
		if c.worker.cfg.stopping() { // the client has not sent a request
			c.leave(0)
			return nil
		}
	}
	return c.again(err)
}

// receive reads once from r and parses the bytes. r is the socket, or a reader that limits
// how much is read from the socket.
func (c *Conn) receive(r io.Reader) (n int, err error) {
	ex := c.borrow()
	if wants := ex.parser.wants(&ex.in); ex.in.Free() == 0 && wants > 0 {
		ex.in.Grow(min(wants, ex.in.Cap()))
	}
	n, err = ex.in.Fill(r)
	switch {
	case err != nil:
		return n, err
	case n == 0:
		c.endOfStream()
	default:
		c.parse()
	}
	return n, nil
}

// again returns err, but for ErrAgain on a blocking connection it returns nil. In that
// case poll(2) wrongly reported bytes, and the next Fill calls poll(2) again.
func (c *Conn) again(err error) error {
	if err == sock.ErrAgain && !c.sock.Nonblocking() {
		return nil
	}
	return err
}

// await waits in poll(2) until there are bytes to read or, in asking, the connection to the tier
// is writable, or the Deadline comes. In idle and settling it also waits for the stop of the
// server. It returns false if the caller must neither read nor write.
func (c *Conn) await() (ready bool, err error) {
	fds := &c.worker.poll
	fds[0] = unix.PollFd{Fd: int32(c.FD()), Events: unix.POLLIN}
	if c.state == asking {
		fds[0].Events = unix.POLLOUT
	}
	fds[1] = unix.PollFd{Fd: -1, Events: unix.POLLIN} // poll(2) ignores -1
	if stop := c.worker.cfg.Stop; stop != nil && (c.state == idle || c.state == settling) {
		fds[1].Fd = int32(stop.FD())
	}
	left := c.left()
	if left <= 0 && c.state != idle {
		c.Expire() // even if there are bytes: a client that keeps sending must time out too
		return false, nil
	}
	n, err := sock.Poll(fds[:], max(0, left))
	switch {
	case err != nil:
		return false, err
	case fds[0].Revents != 0:
		return true, nil
	case n == 0:
		c.Expire()
	default:
		c.leave(0) // the server stops
	}
	return false, nil
}

// endOfStream handles the end of the client's stream. Between two requests the connection
// is over. In the middle of a request the client gets an answer, which it may still read.
func (c *Conn) endOfStream() {
	if c.ex.parser.phase == phaseBefore {
		c.leave(0)
		return
	}
	c.refuse(errTruncated)
}

// parse parses the received bytes further. If a request is complete, parse responds to it, and
// to further requests that have arrived.
func (c *Conn) parse() {
	ex := c.ex
	for {
		if ex.began == 0 && c.worker.cfg.logs() {
			ex.began = now()
		}
		done, err := ex.parser.Parse(&ex.in)
		if !ex.account(c.worker.cfg) && err == nil {
			err = errMemory
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				e = errTruncated
			}
			c.refuse(e)
			return
		}
		if !done {
			break
		}
		if !c.respond() || !c.answerNext() {
			return
		}
	}
	if c.state == responding { // sentAll calls parse again
		return
	}
	switch ex.parser.phase {
	case phaseHead:
		c.enter(readingHead)
	case phaseBody:
		if c.state != readingBody && ex.parser.expect && ex.in.Pos() == ex.parser.bodyStart {
			c.answerExpectation()
			return
		}
		c.enter(readingBody)
	}
}

// Close returns the connection's memory to the pool and closes the socket. If the
// descriptor is in an epoll set or a table, remove it first: the kernel may give the same
// number to the next connection at once.
func (c *Conn) Close() error {
	if c.state == responding {
		c.log(true)
	}
	if c.asks() {
		c.ex.question.release(c, false)
	}
	c.returnExchange()
	return c.sock.Close()
}
