// Package h1 speaks HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) on the server's side of
// one connection. A [Conn] is a machine that never decides how to wait: it says what it
// wants next, and the server waits for that in its own way.
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
	Read  Want = iota // call Fill when there is something to read
	Write             // call Flush when the client can take more
	Close             // nothing: call Close
)

// connState is where a connection stands. This is the whole machine:
//
//	state        wants  time-out        what ends it → the next state
//	idle         Read   idle            a request's first byte → readingHead, or further
//	                                    time-out, end of the stream, stop → leave
//	settling     Read   write, probed   all acknowledged → idle
//	                                    a request's first byte → readingHead, or further
//	                                    end of the stream, stop → leave; no progress → abort
//	readingHead  Read   head            the head is complete → readingBody, continuing or responding
//	                                    bad bytes, time-out, end of the stream → responding (refused)
//	readingBody  Read   body            the body is complete → responding
//	                                    bad bytes, time-out, end of the stream → responding (refused)
//	continuing   Write  body            100 Continue is sent → readingBody
//	                                    time-out → responding (refused), or leave where half of it is sent
//	responding   Write  write, probed   the response is sent → idle or settling, and from there at once
//	                                    further if the next request is here; or leave if it is the last
//	                                    no progress → abort
//	draining     Read   2 s             end of the stream → closed, or unheard
//	                                    time-out, 1 MiB read → closed if all is acknowledged, else unheard
//	lingering    Read   write, probed   all acknowledged → closed, or draining where the client sends
//	                                    end of the stream → closed, or unheard; no progress → abort
//	unheard      Read   write, probed   all acknowledged, or a reset → closed; no progress → abort
//	closed       Close  none            the server calls Close
//
// An error of a system call closes the connection in every state. "Probed" means that the
// kernel is asked now and then how much the client has acknowledged: no event tells.
//
// "Leave" is how a connection ends after its last response, see [Conn.leave]. It shuts down
// the sending side and goes on as draining if the request was refused or there are unread
// bytes, as lingering if much is unacknowledged, and is closed at once otherwise. "Abort"
// is closed with a reset, so that the kernel drops what the client does not read.
type connState uint8

const (
	idle        connState = iota // no byte of a request has come, and the client has the responses
	settling                     // as idle, but a large response is not acknowledged yet
	readingHead                  // some bytes of a request have come
	readingBody                  // its head is complete
	continuing                   // sending 100 Continue before the body is read
	responding                   // sending a response
	draining                     // sent the last one: read and drop what the client still sends
	lingering                    // the same, only until the client has acknowledged everything
	unheard                      // waiting for that alone, and reading no more
	closed                       // over
)

// wanted tells for each state what the connection wants.
var wanted = [...]Want{
	continuing: Write, responding: Write, closed: Close, // the others read
}

const (
	// onePiece is how much of a body is copied after the head, so that a small response
	// leaves with one system call. It is also how much may be unacknowledged at a plain
	// close(2): a client that loses so little was leaving, or is out of reach.
	onePiece = 16 << 10
	// drainBytes is how much is read and dropped after a refusal. A client that sends
	// more does not listen.
	drainBytes = 1 << 20
)

// Conn is one connection. It is made by [Worker.Open], belongs to that worker's
// thread, and is driven by
//
//	for {
//		switch c.Want() {
//		case h1.Read:  err = c.Fill()
//		case h1.Write: err = c.Flush()
//		case h1.Close: return nil
//		}
//		if err != nil { return err }
//	}
//
// On a blocking socket Fill and Flush wait, and keep the time-outs. On a non-blocking
// one they return [sock.ErrAgain] where they would have to wait: come back when what
// Want says is possible on FD, or call Expire at the Deadline. The connection remembers
// everything else.
type Conn struct {
	sock     sock.Conn
	worker   *Worker
	ex       *exchange  // the request under way; nil in idle and settling, unless empty lines came
	received stream.Pos // bytes received before ex
	sent     int64      // bytes that the kernel took, on the whole connection; the FIN is one
	acked    int64      // of these, how many the client had acknowledged when last asked
	since    int64      // when the time-out began, or the client last made progress, as now() says
	probedAt int64      // when it was last asked what the client has acknowledged
	drained  int32      // bytes read since the last response
	turn     int32      // calls left in this turn, if turns are bounded
	state    connState
	probes   uint8 // since since was set by enter; it stops at probesSoon
	bounded  bool  // Grant was called
	closing  bool  // this response is the last
	refused  bool  // … and what follows the request is not to be trusted
	bulky    bool  // a response larger than one piece was sent, and is perhaps not acknowledged
}

// Want tells what the connection wants next.
func (c *Conn) Want() Want { return wanted[c.state] }

// FD returns the descriptor to wait for, or -1 where there is nothing to wait for but the
// Deadline: a client that has ended its stream would be reported for ever.
func (c *Conn) FD() int {
	if c.state == unheard {
		return -1
	}
	return c.sock.FD()
}

// Ready says that the wait is over: an event came. Only non-blocking connections
// need it.
func (c *Conn) Ready() { c.sock.Ready() }

// Grant begins a turn of n calls of Fill or Flush, one system call each. When they are
// used up, the next one returns [ErrYield] before its system call, so that other
// connections get theirs. Without Grant a turn has no end.
func (c *Conn) Grant(n int) { c.turn, c.bounded = int32(n), true }

// spend takes one call of the turn.
func (c *Conn) spend() bool {
	if c.bounded {
		if c.turn == 0 {
			return false
		}
		c.turn--
	}
	return true
}

// Move gives an idle connection to another worker, together with the idle time that is
// running. It returns false, and does nothing, if there is a request under way.
func (c *Conn) Move(to *Worker) bool {
	if c.state != idle || c.ex != nil {
		return false
	}
	c.worker = to
	return true
}

// Fill reads once, parses, and if that makes a request complete runs the handler.
func (c *Conn) Fill() error {
	if !c.spend() {
		return ErrYield
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
	}
	_, err := c.receive(&c.sock)
	if err == nil {
		return nil
	}
	if c.state == idle || c.state == settling {
		if c.ex.parser.untouched() {
			c.returnExchange()
		}
		if c.worker.cfg.stopping() { // and the client has not asked for anything
			c.leave(0)
			return nil
		}
	}
	return c.again(err)
}

// receive reads once from r, which is the socket or a part of what is in it, and parses
// what came.
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
		if ex.began == 0 {
			ex.began = now()
		}
		c.parse()
	}
	return n, nil
}

// again lets ErrAgain through on non-blocking connections only: on a blocking one
// poll(2) had said that there is something, and the next Fill asks it anew.
func (c *Conn) again(err error) error {
	if err == sock.ErrAgain && !c.sock.Nonblocking() {
		return nil
	}
	return err
}

// await waits in poll(2) until there is something to read, the Deadline comes, or the
// server stops, which only an idle connection takes notice of. ready is false where Fill
// has nothing more to do.
func (c *Conn) await() (ready bool, err error) {
	fds := &c.worker.poll
	fds[0] = unix.PollFd{Fd: int32(c.FD()), Events: unix.POLLIN}
	fds[1] = unix.PollFd{Fd: -1, Events: unix.POLLIN} // -1: ignored
	if stop := c.worker.cfg.Stop; stop != nil && (c.state == idle || c.state == settling) {
		fds[1].Fd = int32(stop.FD())
	}
	left := c.left()
	if left <= 0 && c.state != idle {
		c.Expire() // even if there are bytes: otherwise a client that keeps sending would never time out
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
		c.leave(0) // the stop
	}
	return false, nil
}

// endOfStream answers a client that has shut down its sending side. Between two requests
// it has nothing to wait for; in the middle of one it may still read what was wrong.
func (c *Conn) endOfStream() {
	if c.ex.parser.phase == phaseBefore {
		c.leave(0)
		return
	}
	c.refuse(errTruncated)
}

// parse goes on parsing what was received, and answers if a request is complete.
func (c *Conn) parse() {
	ex := c.ex
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
	if done {
		c.respond()
		return
	}
	switch ex.parser.phase {
	case phaseHead:
		c.enter(readingHead)
	case phaseBody:
		if c.state != readingBody && ex.parser.expect && ex.in.Pos() == ex.parser.bodyStart {
			c.sendContinue()
			return
		}
		c.enter(readingBody)
	}
}

// Close returns what the connection holds and closes it. A server that keeps the
// descriptor in a set or a table takes it out first: the kernel gives the number to the
// next connection at once.
func (c *Conn) Close() error {
	if c.state == responding {
		c.log(true)
	}
	c.returnExchange()
	return c.sock.Close()
}
