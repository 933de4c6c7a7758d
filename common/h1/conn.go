// Package h1 speaks HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112) on the server's side of
// one connection. A [Conn] is a machine that never decides how to wait: it says what it
// wants next, and the server waits for that in its own way.
package h1

import (
	"errors"
	"math"
	"runtime/debug"
	"time"

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

// Class is a class of time-out. All time-outs of one class are equally long.
type Class uint8

const (
	ClassIdle  Class = iota // no request begun
	ClassHead               // a head under way
	ClassBody               // a body under way
	ClassWrite              // a response under way, waiting for the client to take more
	ClassDrain              // a refusal was sent; reading what the client still sends
	Classes                 // how many there are
)

const (
	drainTime  = 2 * time.Second
	drainBytes = 1 << 20
	// onePiece is how much of a body is copied behind the head, so that a small response
	// leaves with one system call.
	onePiece = 16 << 10
	// sendfileStep bounds one sendfile(2), which would otherwise go on for as long as the
	// client keeps up.
	sendfileStep = 1 << 20
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
// Want says is possible, or call Expire at the Deadline. The connection remembers
// everything else.
type Conn struct {
	sock     sock.Conn
	worker   *Worker
	ex       *exchange  // the request under way; nil while idle
	received stream.Pos // bytes received before ex
	since    int64      // when the time-out that is running began, as now() says
	looked   int64      // while a response is under way: when it was last asked for progress
	drained  int32      // bytes read since the refusal
	turn     int32      // calls left in this turn, if turns are bounded
	want     Want
	class    Class
	bounded  bool // Grant was called
	closing  bool // this response is the last
	refused  bool // … and what follows the request is not to be trusted
	interim  bool // 100 Continue is being sent, the body follows
}

// Want tells what the connection wants next.
func (c *Conn) Want() Want { return c.want }

// FD returns the connection's descriptor, to wait for.
func (c *Conn) FD() int { return c.sock.FD() }

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

// Deadline tells which time-out is running and when to call Expire: when it ends, or, while
// a response is under way, when it is time to ask for progress.
func (c *Conn) Deadline() (Class, time.Time) {
	if c.class == ClassWrite {
		return c.class, start.Add(time.Duration(c.looked) + c.worker.cfg.askTime())
	}
	return c.class, start.Add(time.Duration(c.since) + c.timeout())
}

func (c *Conn) timeout() time.Duration {
	cfg := c.worker.cfg
	switch c.class {
	case ClassIdle:
		return cfg.IdleTimeout
	case ClassHead:
		return cfg.HeaderTimeout
	case ClassBody:
		return cfg.BodyTimeout
	case ClassWrite:
		return cfg.WriteTimeout
	}
	return drainTime
}

// left is how much of the time-out that is running is left.
func (c *Conn) left() time.Duration { return time.Duration(c.since-now()) + c.timeout() }

// enter starts the time-out of a class, unless it is already running.
func (c *Conn) enter(class Class) {
	if c.class != class {
		c.class, c.since = class, now()
		c.looked = c.since
	}
}

// Expire does what follows where the Deadline is over; Want tells what that is. A response
// goes on if the client took any of it within the time-out, which is asked now and
// then: the kernel reports room only when a third of its queue is free, so a client that
// reads slowly can look like one that does not read at all.
func (c *Conn) Expire() {
	switch c.class {
	case ClassHead, ClassBody:
		c.refuse(errTooSlow)
	case ClassWrite:
		c.looked = now()
		if c.progressed() {
			c.since = c.looked
		}
		if c.looked-c.since < int64(c.timeout()) {
			return
		}
		_ = c.sock.Abort() // if it fails the kernel keeps the bytes a while longer, no more
		c.want = Close
	case ClassIdle:
		// Where it was the server that was late, what the client sent in time is read.
		if n, err := c.sock.Unread(); err == nil && n > 0 {
			c.sock.Ready()
			return
		}
		c.want = Close
	default:
		c.want = Close
	}
}

// progressed tells whether the client has acknowledged more of the response since
// progressed was last asked.
func (c *Conn) progressed() bool {
	unsent, err := c.sock.Unsent()
	if err != nil {
		return false
	}
	before := c.ex.accepted
	c.ex.accepted = c.ex.sent - int64(unsent)
	return c.ex.accepted > before
}

// Move gives an idle connection to another worker, together with the idle time that is
// running. It returns false, and does nothing, if there is a request under way.
func (c *Conn) Move(to *Worker) bool {
	if c.class != ClassIdle || c.ex != nil || c.want != Read {
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
	if c.class == ClassDrain {
		return c.drain()
	}
	ex := c.borrow()
	if wants := ex.parser.wants(&ex.in); ex.in.Free() == 0 && wants > 0 {
		ex.in.Grow(min(wants, ex.in.Cap()))
	}
	n, err := ex.in.Fill(&c.sock)
	switch {
	case err != nil:
		if c.class == ClassIdle {
			if ex.parser.untouched() {
				c.giveBack()
			}
			if c.worker.cfg.stopping() { // and nobody has asked for anything
				c.want = Close
				return nil
			}
		}
		return c.again(err)
	case n == 0:
		c.endOfStream()
	default:
		if ex.began == 0 {
			ex.began = now()
		}
		c.parse()
	}
	return nil
}

// again lets ErrAgain through on non-blocking connections only: on a blocking one
// poll(2) had said that there is something, and the next Fill asks it anew.
func (c *Conn) again(err error) error {
	if err == sock.ErrAgain && !c.sock.Nonblocking() {
		return nil
	}
	return err
}

// await waits in poll(2) until there is something to read, the time-out ends, or the
// server stops, of which only an idle connection takes notice. ready is false where Fill
// has nothing more to do.
func (c *Conn) await() (ready bool, err error) {
	fds := &c.worker.poll
	fds[0] = unix.PollFd{Fd: int32(c.sock.FD()), Events: unix.POLLIN}
	fds[1] = unix.PollFd{Fd: -1, Events: unix.POLLIN} // -1: ignored
	if c.class == ClassIdle {
		if c.ex != nil && c.ex.parser.untouched() {
			c.giveBack()
		}
		if stop := c.worker.cfg.Stop; stop != nil {
			fds[1].Fd = int32(stop.FD())
		}
	}
	left := c.left()
	if left <= 0 && c.class != ClassIdle {
		c.Expire() // even if there are bytes: who always sends some would never be late
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
		c.want = Close // the stop
	}
	return false, nil
}

// endOfStream answers a client that has shut down its sending side. Whoever asks
// nothing more has nothing to wait for; whoever stopped in mid-request may still read
// what was wrong.
func (c *Conn) endOfStream() {
	if c.ex.parser.phase == phaseBefore {
		c.want = Close
		return
	}
	c.refuse(errTruncated)
}

// drain reads what a refused client is still sending and drops it.
func (c *Conn) drain() error {
	w := c.worker
	if w.scratch == nil {
		w.scratch = make([]byte, baseBuffer)
	}
	n, err := c.sock.Read(w.scratch)
	if err != nil {
		return c.again(err)
	}
	c.drained += int32(n)
	if n == 0 || c.drained > drainBytes {
		c.want = Close
	}
	return nil
}

// parse reads on in what was received, and answers if a request is complete.
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
	c.want = Read
	switch ex.parser.phase {
	case phaseHead:
		c.enter(ClassHead)
	case phaseBody:
		if c.class != ClassBody && ex.parser.expect && ex.in.Pos() == ex.parser.bodyStart {
			c.invite()
		}
		c.enter(ClassBody)
	}
}

// invite sends 100 Continue to a client that waits for it (RFC 9110 §10.1.1).
func (c *Conn) invite() {
	ex := c.ex
	ex.out = append(ex.out[:0], "HTTP/1.1 100 Continue\r\n\r\n"...)
	ex.outSent, ex.part = 0, 0
	c.interim = true
	c.want = Write
}

// respond runs the handler and queues what it described.
func (c *Conn) respond() {
	ex := c.ex
	ex.res.reset()
	if ex.req.Method == Unknown {
		ex.res.Error(501, "the method is not known here")
	} else {
		c.handle()
	}
	c.queue()
}

// handle is the one place that recovers from a panic: a mistake in a handler costs
// one response, not the server.
func (c *Conn) handle() {
	defer func() {
		if v := recover(); v != nil {
			if log := c.worker.cfg.Log; log != nil {
				log.Panic(v, debug.Stack())
			}
			c.ex.res.Error(500, "")
		}
	}()
	c.worker.cfg.Handler(&c.ex.res, &c.ex.req)
}

// refuse queues an answer behind which nothing on this connection is believed.
func (c *Conn) refuse(e *Error) {
	if c.interim && c.ex.outSent > 0 { // half a 100 Continue is out: an answer would be garbage
		c.want = Close
		return
	}
	c.ex.res.Error(e.Status, e.Reason)
	c.closing, c.refused, c.interim = true, true, false
	c.queue()
}

// queue turns the described response into bytes: the head, and behind it as much of
// the body as fits into one piece.
func (c *Conn) queue() {
	ex, w := c.ex, c.worker
	res, req := &ex.res, &ex.req
	if res.Status == 0 {
		res.Status = 200
	}
	c.closing = c.closing || res.close || req.close || w.cfg.stopping()
	ex.out = res.appendHead(ex.out[:0], w.today(), c.closing, req.keep10)
	ex.outSent, ex.part, ex.sent = 0, 0, 0
	ex.accepted = math.MinInt64 // not asked yet: earlier responses may still be on their way
	if req.Method == HEAD || res.Status == 204 || res.Status == 304 {
		res.dropBody()
	}
	for ex.part < len(res.parts) && len(ex.out)+int(res.parts[ex.part].n) <= onePiece {
		p := &res.parts[ex.part]
		if p.file != nil {
			break
		}
		ex.out = append(ex.out, res.memory(p)...)
		ex.part++
	}
	c.want = Write
	c.enter(ClassWrite)
}

// Flush sends once. When the response is out, the next pipelined request is answered:
// its bytes are here already, so no event would tell of them.
func (c *Conn) Flush() error {
	if !c.spend() {
		return ErrYield
	}
	n, offered, err := c.send()
	if err == sock.ErrAgain {
		if !c.sock.Nonblocking() { // SO_SNDTIMEO ran out
			if c.class == ClassWrite || c.left() <= 0 { // a 100 Continue is sent in the body's time
				c.Expire()
			}
			return nil
		}
		c.progressed()
		return err
	}
	if err != nil {
		return err
	}
	c.ex.sent += int64(n)
	if c.ex.outSent < len(c.ex.out) || c.ex.part < len(c.ex.res.parts) {
		c.since = now()
		c.looked = c.since
		if n < offered && !c.sock.Nonblocking() { // SO_SNDTIMEO ran out in the middle
			c.progressed() // for Expire, should the next call get nothing out
		}
		return nil
	}
	c.sentAll()
	return nil
}

// errShrunk ends a connection: the length that was announced can no longer be kept.
var errShrunk = errors.New("h1: the file became shorter while it was sent")

// send makes one system call: for the head, or for the next part of the body. It
// returns how many of the offered bytes the kernel took.
func (c *Conn) send() (n, offered int, err error) {
	ex := c.ex
	parts := ex.res.parts
	if ex.outSent < len(ex.out) {
		offered = len(ex.out) - ex.outSent
		n, err = c.sock.Send(ex.out[ex.outSent:], ex.part < len(parts) && !c.interim)
		ex.outSent += n
		return n, offered, err
	}
	p := &parts[ex.part]
	last := ex.part == len(parts)-1
	if p.file != nil {
		offered = int(min(p.n, sendfileStep))
		n, err = c.sock.Sendfile(p.file.FD(), &p.off, offered)
		if n == 0 && err == nil {
			err = errShrunk
		}
	} else {
		offered = int(p.n)
		n, err = c.sock.Send(ex.res.memory(p), !last)
		p.skip(n)
	}
	if err != nil {
		return n, offered, err
	}
	if p.n -= int64(n); p.n == 0 {
		ex.part++
	}
	return n, offered, nil
}

// sentAll goes on behind a response that is out.
func (c *Conn) sentAll() {
	ex := c.ex
	if c.interim {
		c.interim = false
		c.want = Read
		return
	}
	c.log(false)
	ex.res.reset()
	if c.closing || c.worker.cfg.stopping() {
		c.hangUp()
		return
	}
	ex.in.Discard()
	ex.parser.Reset(&ex.req, &ex.in)
	c.enter(ClassIdle)
	c.want = Read
	ex.began = 0
	if len(ex.in.Unread()) > 0 {
		ex.began = now()
		c.parse()
	}
}

// hangUp ends the connection behind a response. Closing a socket while there are bytes
// that were not read makes the kernel send a reset, which can overtake the response on
// its way to the client's eyes (RFC 9112 §9.6): then only the sending side is shut down,
// and the rest is read and dropped for a while.
func (c *Conn) hangUp() {
	waiting := len(c.ex.in.Unread())
	if !c.refused && waiting == 0 {
		waiting, _ = c.sock.Unread()
	}
	c.giveBack()
	if !c.refused && waiting == 0 {
		c.want = Close
		return
	}
	if err := c.sock.ShutdownWrite(); err != nil {
		c.want = Close // the client is gone
		return
	}
	c.enter(ClassDrain)
	c.want = Read
}

// log tells the access log of the response under way.
func (c *Conn) log(cut bool) {
	logger := c.worker.cfg.Log
	if logger == nil {
		return
	}
	ex := c.ex
	e := &c.worker.entry
	*e = Entry{
		Peer: c.sock.Peer, Time: time.Now(), Took: time.Duration(now() - ex.began),
		Method: ex.req.bytes(ex.req.method), Target: ex.req.Target(), Version: ex.req.bytes(ex.req.version),
		Status: ex.res.Status, Bytes: ex.sent, Cut: cut,
	}
	logger.Log(e)
}

// Close gives back what the connection holds and closes it. A server that keeps the
// descriptor in a set or a table takes it out first: the kernel gives the number to the
// next connection at once.
func (c *Conn) Close() error {
	if c.ex != nil {
		if c.class == ClassWrite {
			c.log(true)
		}
		c.giveBack()
	}
	return c.sock.Close()
}
