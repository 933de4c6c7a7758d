package h1

import (
	"errors"
	"runtime/debug"

	"fourways.example/common/sock"
)

// sendfileStep limits one sendfile(2), in bytes. A single call without a limit would go on
// for as long as the client reads fast enough.
const sendfileStep = 1 << 20

// sendContinue queues 100 Continue for a client that waits for it (RFC 9110 §10.1.1).
func (c *Conn) sendContinue() {
	ex := c.ex
	ex.out = append(ex.out[:0], "HTTP/1.1 100 Continue\r\n\r\n"...)
	ex.outSent, ex.part = 0, 0
	c.enter(continuing)
}

// answerExpectation sends 100 Continue, unless the final answer is certain already. A client
// that gets the final answer instead need not send the body (RFC 9110 §10.1.1).
func (c *Conn) answerExpectation() {
	c.ex.res.reset()
	if !c.certain() {
		c.ex.res.reset()
		c.sendContinue()
		return
	}
	// The client may have sent the body before the answer arrives, or omit it. So the bytes
	// after the head may be a body or a request.
	c.ex.res.refused = true
	c.queue()
}

// certain describes the response if it does not depend on the body of the request.
func (c *Conn) certain() (certain bool) {
	ex, cfg := c.ex, c.worker.cfg
	switch {
	case ex.req.Method == Unknown:
		ex.res.unknownMethod()
		return true
	case cfg.Early == nil:
		return false
	}
	certain = true // the result if Early panics
	defer c.recoverPanic()
	certain = cfg.Early(&ex.res, &ex.req)
	return certain
}

// respond runs the handler and queues the response that it described. It returns false if the
// handler asks the other tier, or will ask it when the responses before this one are sent.
func (c *Conn) respond() (queued bool) {
	ex := c.ex
	ex.res.reset()
	if ex.req.Method == Unknown {
		ex.res.unknownMethod()
	} else {
		c.handle()
	}
	if ex.res.question != nil {
		return c.ask()
	}
	c.queue()
	return true
}

// handle calls the handler.
func (c *Conn) handle() {
	defer c.recoverPanic()
	c.worker.cfg.Handler(&c.ex.res, &c.ex.req)
}

// recoverPanic, as a deferred call, answers with 500 if the function of the site panics: a
// mistake in it costs one response, not the server. Nothing else in the server recovers.
func (c *Conn) recoverPanic() {
	if v := recover(); v != nil {
		if log := c.worker.cfg.Log; log != nil {
			log.Panic(v, debug.Stack())
		}
		c.ex.res.Error(500, "")
	}
}

// refuse queues the answer to a bad or late request. The bytes after the request are not
// parsed as another request.
func (c *Conn) refuse(e *Error) {
	if c.state == continuing && c.ex.outSent > 0 { // after a part of 100 Continue, an answer would be garbage
		c.leave(c.unread())
		return
	}
	c.ex.res.Refuse(e.Status, e.Reason)
	c.queue()
}

// queue turns the described response into bytes: the head, and as many parts of the body
// as fit into onePiece together with the head. If responses are queued already, the bytes
// follow theirs.
func (c *Conn) queue() {
	ex, w := c.ex, c.worker
	res, req := &ex.res, &ex.req
	if res.Status == 0 {
		res.Status = 200
	}
	c.refused = c.refused || res.refused
	c.closing = c.closing || c.refused || res.close || req.close || w.cfg.stopping()
	if c.state != responding {
		ex.out, ex.texts, ex.kept = ex.out[:0], ex.texts[:0], ex.kept[:0]
		ex.outSent, ex.sent, ex.answers = 0, 0, 0
	}
	ex.queued, ex.part = len(ex.out), 0
	at := now()
	ex.out = res.appendHead(ex.out, w.date(at), c.closing, req.keep10)
	if req.Method == HEAD || res.Status == 204 || res.Status == 304 {
		res.dropBody()
	}
	for ex.part < len(res.parts) && len(ex.out)-ex.queued+int(res.parts[ex.part].n) <= onePiece {
		p := &res.parts[ex.part]
		if p.file != nil {
			break
		}
		ex.out = append(ex.out, res.memory(p)...)
		ex.part++
	}
	c.bulky = c.bulky || ex.part < len(res.parts)
	c.enterAt(responding, at)
}

// Flush sends once. When a response is sent, Flush also parses the bytes of the next
// pipelined request: they have been read already, so no event would report them.
func (c *Conn) Flush() error {
	if c.state == asking {
		return c.sendQuestion()
	}
	if !c.useBudget() {
		return ErrBudget
	}
	n, offered, err := c.send()
	switch {
	case err == sock.ErrAgain && !c.sock.Nonblocking(): // SO_SNDTIMEO ran out
		if c.state == responding || c.left() <= 0 { // 100 Continue may take the whole body time-out
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
			c.progressed() // sets acked, for the comparison at the next probe
		}
		return nil
	}
	c.sentAll()
	return nil
}

// errShrunk ends a connection, because the response would be shorter than its
// Content-Length.
var errShrunk = errors.New("h1: the file became shorter while it was sent")

// send makes one system call, for the head or for the next part of the body. It offers a
// number of bytes to the kernel, and the kernel takes n of them.
func (c *Conn) send() (n, offered int, err error) {
	ex := c.ex
	parts := ex.res.parts
	if ex.outSent < len(ex.out) {
		offered = len(ex.out) - ex.outSent
		n, err = c.sock.Send(ex.out[ex.outSent:], ex.part < len(parts))
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

// sentAll changes the state after everything that was queued is sent.
func (c *Conn) sentAll() {
	ex := c.ex
	if c.state == continuing {
		c.enter(readingBody)
		return
	}
	c.log(false)
	begun := ex.res.Status == 0 // the parser has read a part of the next request
	if c.closing || c.worker.cfg.stopping() {
		unread := c.unread()
		if begun {
			unread++
		}
		c.leave(unread)
		return
	}
	if !begun {
		ex.nextRequest()
	}
	if c.bulky {
		c.enter(settling) // the idle time begins when the client has the whole response
	} else {
		c.enter(idle)
	}
	if begun || len(ex.in.Unread()) > 0 {
		c.parse()
		return
	}
	c.returnExchange()
}

// nextRequest forgets the request and its response. The parser then reads the next request.
func (ex *exchange) nextRequest() {
	ex.res.reset()
	ex.in.Discard()
	ex.parser.Reset(&ex.req, &ex.in)
	ex.began = 0
}

// leave ends the connection after its last response. unread is how many bytes have come
// after the last request.
//
// A plain close(2) may lose the response (RFC 9112 §9.6). The kernel answers unread and
// later bytes of the client with a reset, and a reset drops the bytes that the client has
// not acknowledged or not read. The kernel also keeps unacknowledged bytes in memory for
// minutes, where neither --max-conns nor --write-timeout limits them. So leave first shuts
// down only the sending side, unless little can be lost.
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

// unread returns how many bytes have come after the last request: those in the buffer or,
// if there are none, those in the socket.
func (c *Conn) unread() int {
	if n := len(c.ex.in.Unread()); n > 0 {
		return n
	}
	n, _ := c.sock.Unread()
	return n
}

// unacked returns how many bytes the client has not acknowledged. It asks the kernel only
// if the number exceeds onePiece, because most connections never send more. A smaller
// number may therefore be too large.
func (c *Conn) unacked() int64 {
	if c.sent-c.acked > onePiece {
		c.progressed()
	}
	return c.sent - c.acked
}

// discard reads and drops bytes that the client still sends.
func (c *Conn) discard() error {
	n, err := c.sock.Read(c.worker.scratchBytes())
	if err != nil {
		return c.again(err)
	}
	c.drained = min(c.drained+int32(n), 2*drainBytes)
	switch {
	case n == 0 && c.unacked() <= onePiece: // no more bytes can come, so the kernel sends no reset
		c.enter(closed)
	case n == 0, c.state == draining && c.drained > drainBytes:
		c.closeWhenAcked()
	}
	return nil
}

// closeWhenAcked closes the connection if the client has acknowledged everything. If not,
// it waits for that in the state unheard.
func (c *Conn) closeWhenAcked() {
	c.progressed()
	if c.acked == c.sent {
		c.enter(closed)
		return
	}
	c.enter(unheard)
}
