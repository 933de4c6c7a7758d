package h1

import (
	"io"
	"time"
)

// Class is a class of deadline, for a server that keeps a list of them: in one class all
// deadlines are equally far away when they are set, so that each list is in order.
type Class uint8

const (
	ClassIdle      Class = iota // no request begun
	ClassHead                   // a request head under way
	ClassBody                   // a body under way
	ClassWrite                  // a response under way: when to ask for progress
	ClassProbeSoon              // a response sent and not acknowledged: when to ask for progress
	ClassProbe                  // the same, after some time
	ClassDrain                  // a refusal sent; reading what the client still sends
	ClassNone                   // none: the connection is closed
	Classes                     // how many there are
)

const (
	// drainTime is how long a refused client may go on sending.
	drainTime = 2 * time.Second
	// A response that was sent is acknowledged within a round trip, unless its client is
	// slow. So the kernel is asked soon at first, and seldom later: probing 10,000 clients
	// that read nothing must cost next to nothing.
	probeSoon  = 10 * time.Millisecond
	probesSoon = 10
	probeLater = 250 * time.Millisecond
)

// classes tells which class of deadline each state has. settling, lingering and unheard
// begin with ClassProbeSoon.
var classes = [...]Class{
	idle: ClassIdle, readingHead: ClassHead, readingBody: ClassBody, continuing: ClassBody,
	responding: ClassWrite, draining: ClassDrain,
	settling: ClassProbe, lingering: ClassProbe, unheard: ClassProbe, closed: ClassNone,
}

// Deadline tells when to call Expire: when the time-out is over, or, while a response is
// not acknowledged, when it is time to ask for progress.
func (c *Conn) Deadline() (Class, time.Time) {
	class, at := c.deadline()
	return class, start.Add(time.Duration(at))
}

// deadline is Deadline in the time of now.
func (c *Conn) deadline() (Class, int64) {
	cfg := c.worker.cfg
	switch class := classes[c.state]; class {
	case ClassWrite:
		return class, c.probedAt + int64(cfg.probeTime())
	case ClassProbe:
		if c.probes < probesSoon {
			return ClassProbeSoon, c.probedAt + int64(min(probeSoon, cfg.probeTime()))
		}
		return class, c.probedAt + int64(min(probeLater, cfg.probeTime()))
	default:
		return class, c.since + int64(c.timeout())
	}
}

// timeout is the length of the time-out that is running.
func (c *Conn) timeout() time.Duration {
	cfg := c.worker.cfg
	switch c.state {
	case idle:
		return cfg.IdleTimeout
	case readingHead:
		return cfg.HeaderTimeout
	case readingBody, continuing:
		return cfg.BodyTimeout
	case draining:
		return drainTime
	}
	return cfg.WriteTimeout
}

// left is how much time is left until the Deadline.
func (c *Conn) left() time.Duration {
	_, at := c.deadline()
	return time.Duration(at - now())
}

// enter changes the state, and starts the time-out of its class unless that is running
// already.
func (c *Conn) enter(to connState) {
	if classes[c.state] != classes[to] {
		c.since = now()
		c.probedAt, c.probes = c.since, 0
	}
	c.state = to
}

// Expire does what follows where the Deadline has come; Want tells what that is.
func (c *Conn) Expire() {
	switch c.state {
	case idle:
		// The server may have been late: a request that came in time is answered.
		if n, err := c.sock.Unread(); err == nil && n > 0 {
			c.sock.Ready()
			return
		}
		c.leave(0)
	case readingHead, readingBody:
		c.catchUp()
	case continuing:
		c.refuse(errTooSlow)
	case draining:
		c.closeWhenAcked()
	case responding, settling, lingering, unheard:
		c.expectProgress()
	}
}

// catchUp ends the time of a head or a body. The server may have been late: what lies in
// the socket by now is read, once and no more of it, for a client that keeps sending
// always has something there. What is incomplete then is late.
func (c *Conn) catchUp() {
	class := classes[c.state]
	c.sock.Ready()
	n, err := c.sock.Unread()
	for err == nil && n > 0 && classes[c.state] == class {
		var got int
		got, err = c.receive(&io.LimitedReader{R: &c.sock, N: int64(n)})
		n -= got
	}
	if classes[c.state] == class {
		c.refuse(errTooSlow)
	}
}

// expectProgress looks whether the client has acknowledged anything since it was last
// asked, and gives up a client that has not for all of the write time-out. It is asked
// many times in each time-out: the kernel reports room only when a third of its queue is
// free, so a client that reads slowly can look like one that does not read at all.
func (c *Conn) expectProgress() {
	c.probedAt = now()
	c.probes = min(c.probes+1, probesSoon)
	if c.progressed() {
		c.since = c.probedAt
	}
	switch {
	case c.state != responding && c.acked == c.sent:
		c.acknowledged()
	case c.probedAt-c.since >= int64(c.timeout()):
		c.abort()
	case c.state == unheard && c.sock.Err() != nil:
		c.enter(closed) // a reset, which no event tells of here
	}
}

// acknowledged goes on where the client has acknowledged everything.
func (c *Conn) acknowledged() {
	c.bulky = false
	switch c.state {
	case settling:
		c.enter(idle)
		return
	case lingering:
		// A client that sends more would be told of a reset before it reads the end.
		if n, _ := c.sock.Unread(); n > 0 || c.drained > 0 {
			c.sock.Ready()
			c.enter(draining)
			return
		}
	}
	c.enter(closed)
}

// progressed asks the kernel what the client has acknowledged, and tells whether that is
// more than when it was last asked.
func (c *Conn) progressed() bool {
	unacked, err := c.sock.Unacked()
	if err != nil {
		return false
	}
	before := c.acked
	c.acked = c.sent - int64(unacked)
	return c.acked > before
}

// abort gives up a client that does not read.
func (c *Conn) abort() {
	if c.state == responding {
		c.log(true)
	}
	_ = c.sock.Abort() // if it fails the kernel keeps the bytes a while longer, no more
	c.enter(closed)
}

var start = time.Now()

// now is the monotonic clock in nanoseconds since the program began: eight bytes in
// a connection where a time.Time would take 24.
func now() int64 { return int64(time.Since(start)) }
