package h1

import (
	"errors"
	"runtime/debug"
	"time"

	"fourways.example/common/sock"
)

// sendfileStep bounds one sendfile(2), which would otherwise go on for as long as the
// client keeps up.
const sendfileStep = 1 << 20

// sendContinue sends 100 Continue to a client that waits for it (RFC 9110 §10.1.1).
func (c *Conn) sendContinue() {
	ex := c.ex
	ex.out = append(ex.out[:0], "HTTP/1.1 100 Continue\r\n\r\n"...)
	ex.outSent, ex.part = 0, 0
	c.enter(continuing)
}

// respond runs the handler and queues what it described.
func (c *Conn) respond() {
	ex := c.ex
	ex.res.reset()
	if ex.req.Method == Unknown {
		ex.res.Error(501, "the server does not implement this method")
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

// refuse queues an answer after which nothing on this connection is believed.
func (c *Conn) refuse(e *Error) {
	if c.state == continuing && c.ex.outSent > 0 { // half a 100 Continue is out: an answer would be garbage
		c.leave(c.unread())
		return
	}
	c.ex.res.Error(e.Status, e.Reason)
	c.closing, c.refused = true, true
	c.queue()
}

// queue turns the described response into bytes: the head, followed by as much of the
// body as fits into one piece.
func (c *Conn) queue() {
	ex, w := c.ex, c.worker
	res, req := &ex.res, &ex.req
	if res.Status == 0 {
		res.Status = 200
	}
	c.closing = c.closing || res.close || req.close || w.cfg.stopping()
	ex.out = res.appendHead(ex.out[:0], w.date(), c.closing, req.keep10)
	ex.outSent, ex.part, ex.sent = 0, 0, 0
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
	c.bulky = c.bulky || ex.part < len(res.parts)
	c.enter(responding)
}

// Flush sends once. When the response is out, the next pipelined request is answered:
// its bytes are here already, so no event would tell of them.
func (c *Conn) Flush() error {
	if !c.spend() {
		return ErrYield
	}
	n, offered, err := c.send()
	switch {
	case err == sock.ErrAgain && !c.sock.Nonblocking(): // SO_SNDTIMEO ran out
		if c.state == responding || c.left() <= 0 { // 100 Continue is sent in the body's time
			c.Expire()
		}
		return nil
	case err == sock.ErrAgain:
		c.progressed()
		return err
	case err == errShrunk:
		c.log(true)
		c.leave(c.unread())
		return nil
	case err != nil:
		return err
	}
	c.sent += int64(n)
	c.ex.sent += int64(n)
	if c.ex.outSent < len(c.ex.out) || c.ex.part < len(c.ex.res.parts) {
		c.since = now()
		c.probedAt = c.since
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
		n, err = c.sock.Send(ex.out[ex.outSent:], ex.part < len(parts) && c.state == responding)
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

// sentAll goes on after a response that is out.
func (c *Conn) sentAll() {
	ex := c.ex
	if c.state == continuing {
		c.enter(readingBody)
		return
	}
	c.log(false)
	ex.res.reset()
	if c.closing || c.worker.cfg.stopping() {
		c.leave(c.unread())
		return
	}
	ex.in.Discard()
	ex.parser.Reset(&ex.req, &ex.in)
	if c.bulky {
		c.enter(settling) // the idle time begins when the client has it all
	} else {
		c.enter(idle)
	}
	if len(ex.in.Unread()) > 0 {
		ex.began = now()
		c.parse()
		return
	}
	c.returnExchange()
}

// leave ends the connection after its last response. unread is how many bytes of the
// client's have come and were not read.
//
// A plain close(2) may lose the response (RFC 9112 §9.6): the kernel answers bytes that
// were not read, and those that come later, with a reset, and a reset drops what the
// client has not acknowledged, or has not read yet. It also keeps what is unacknowledged
// in memory for minutes, where neither --max-conns nor --write-timeout counts it. So only
// the sending side is shut down first, unless little could be lost.
func (c *Conn) leave(unread int) {
	to := lingering
	if c.refused || unread > 0 {
		to = draining
	}
	c.returnExchange()
	if to == lingering && c.unacked() <= onePiece {
		c.enter(closed)
		return
	}
	if err := c.sock.ShutdownWrite(); err != nil {
		c.enter(closed) // the client is gone
		return
	}
	c.sent++ // the FIN takes a place in the stream, and is acknowledged
	c.enter(to)
}

// unread tells how many bytes came after the last request.
func (c *Conn) unread() int {
	if n := len(c.ex.in.Unread()); n > 0 {
		return n
	}
	n, _ := c.sock.Unread()
	return n
}

// unacked tells how many bytes the client has not acknowledged. It asks the kernel only
// where the answer may be more than onePiece: most connections never send so much.
func (c *Conn) unacked() int64 {
	if c.sent-c.acked > onePiece {
		c.progressed()
	}
	return c.sent - c.acked
}

// discard reads what the client still sends and drops it.
func (c *Conn) discard() error {
	w := c.worker
	if w.scratch == nil {
		w.scratch = make([]byte, baseBuffer)
	}
	n, err := c.sock.Read(w.scratch)
	if err != nil {
		return c.again(err)
	}
	c.drained = min(c.drained+int32(n), 2*drainBytes)
	switch {
	case n == 0 && c.unacked() <= onePiece: // nothing more comes that could make the kernel reset
		c.enter(closed)
	case n == 0, c.state == draining && c.drained > drainBytes:
		c.closeWhenAcked()
	}
	return nil
}

// closeWhenAcked closes the connection, but not before the client has acknowledged
// everything.
func (c *Conn) closeWhenAcked() {
	c.progressed()
	if c.acked == c.sent {
		c.enter(closed)
		return
	}
	c.enter(unheard)
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
	*e = Entry{} // or the worker would hold the request's memory until its next one
}
