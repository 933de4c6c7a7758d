package h1

import (
	"container/list"
	"errors"
	"io"

	"fourways.example/common/resp"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

const (
	// TierConns is how many connections to the other tier a worker has at most. Each carries one
	// question at a time, so that a slow reply delays only its own client.
	TierConns = 8
	// maxWaiting limits the questions of a worker that wait for one of these connections.
	maxWaiting = 1024
	// maxRepeats limits how often a question is asked again. While the tier stops, its listening
	// socket may outlive its connections: it takes a fresh connection and resets it.
	maxRepeats = 3
)

// A Question is a request to the other tier, a server that speaks RESP2.
type Question struct {
	// Bytes are the commands. They must not change until the reply is here.
	Bytes []byte
	// Replies is how many replies the tier sends, one for each command.
	Replies int
	// Again says that the tier may get the question twice. It is sent again, at most maxRepeats
	// times, if the tier closes the connection before the first byte of the reply.
	Again bool
	// Keep is for the handler, which finds it in the Reply.
	Keep any
}

// An Outcome says how a question ended.
type Outcome uint8

const (
	Replied    Outcome = iota // the replies are here
	ErrorReply                // the same, but at least one is an error
	Refused                   // the tier cannot be reached; it has received nothing
	TimedOut                  // Config.TierTimeout is over; the tier may have received the question
	Lost                      // the tier closed the connection; it may have received the question
	Garbled                   // the reply is not RESP2, too long, or has more than the replies asked for
	Busy                      // too many questions wait; the tier has received nothing
)

// A Reply is what became of a question. It is valid as long as the request.
type Reply struct {
	Outcome Outcome
	Values  []resp.Value // the replies, if there are any
	Keep    any          // Question.Keep

	rejected bool
}

// Reject says that the replies make no sense. The connection that they came from is closed.
func (r *Reply) Reject() { r.rejected = true }

// Ask asks the other tier. The handler then describes no response: when the outcome is known, it
// is called again with the same request, whose Reply has the outcome. Meanwhile no thread and no
// event loop waits, if the connection is non-blocking. A handler may ask once for each request. It
// must keep no state for the second call: if responses to earlier requests are not sent yet, its
// question is dropped, and the first call is repeated later.
func (w *Response) Ask(q Question) { w.question = &question{Question: q} }

// Reply returns the outcome of the question that the handler has asked. It is nil in the first
// call of a handler.
func (r *Request) Reply() *Reply { return r.reply }

// A tierConn is a connection to the other tier.
type tierConn struct {
	sock.Conn
	reused bool // it has carried a question before, so it may be broken without anybody's knowledge
}

// A question is the state of one question.
type question struct {
	Question
	client     int           // the descriptor of the client that asks
	place      *list.Element // in Worker.waiting; nil if the question does not wait
	asker      bool          // counts in Worker.askers
	tier       *tierConn     // nil in waiting, and before the first call in asking
	dialed     bool          // connect was called
	connecting bool          // connect(2) is under way
	blocked    bool          // the last call on tier would have had to wait; Ready must come before the next
	repeats    int           // how often the question was asked again
	heard      bool          // a byte of the reply has arrived
	sent       int           // bytes of Question.Bytes
	parser     resp.Parser
	reply      Reply
}

// fd returns the descriptor of the connection to the tier, or -1 if there is none.
func (q *question) fd() int {
	if q.tier == nil {
		return -1
	}
	return q.tier.FD()
}

// asks reports whether the connection waits for the other tier.
func (c *Conn) asks() bool { return classes[c.state] == ClassTier }

// ask begins the question in the response. It returns true if the question has failed at once,
// and the response to that is queued.
func (c *Conn) ask() (queued bool) {
	ex, w := c.ex, c.worker
	q := ex.res.question
	ex.res.reset()
	if c.state == responding {
		return false // sentAll calls parse, and that calls the handler again
	}
	q.client, ex.question = c.sock.FD(), q
	switch {
	case !w.cfg.Tier.IsValid():
		c.settle(Refused)
		return true
	case w.waiting.Len() == 0 && w.askers < TierConns:
		w.grant(q)
		c.enter(asking)
	case w.waiting.Len() < maxWaiting:
		q.place = w.waiting.PushBack(q)
		c.enter(waiting)
	default:
		c.settle(Busy)
		return true
	}
	return false
}

// grant lets a question use a connection to the tier: a free one or, if there is none, a new one.
func (w *Worker) grant(q *question) {
	w.askers++
	q.asker = true
	q.tier = w.takeFree()
}

func (w *Worker) takeFree() (t *tierConn) {
	if n := len(w.freeTier); n > 0 {
		t, w.freeTier = w.freeTier[n-1], w.freeTier[:n-1]
	}
	return t
}

// Next returns the descriptor of a client whose question has waited for a connection to the
// other tier and may be asked now: call Fill. It returns -1 if there is none. An event loop must
// call Next before it waits for events.
//
// Next also closes connections to the tier that have failed. Until then they stay open, so that
// no new connection gets their number while the event loop watches it for an earlier one.
func (w *Worker) Next() int {
	for i := range w.deadTier {
		_ = w.deadTier[i].Close()
	}
	w.deadTier = w.deadTier[:0]
	if w.waiting.Len() == 0 || w.askers == TierConns {
		return -1
	}
	q := w.waiting.Front().Value.(*question)
	w.waiting.Remove(q.place)
	q.place = nil
	w.grant(q)
	return q.client
}

// wait goes on when Next has allowed it.
func (c *Conn) wait() error {
	if !c.ex.question.asker {
		return sock.ErrAgain
	}
	c.enter(asking)
	return nil
}

// sendQuestion connects, or sends once. It connects first, because afterwards FD returns a descriptor. A
// unit of the budget and, on a blocking connection, a wait come before each call that sends.
func (c *Conn) sendQuestion() error {
	q := c.ex.question
	if !q.dialed { // this needs no budget, because afterwards FD returns a descriptor
		if done, err := c.connect(q); !done {
			return err
		}
	}
	if !c.useBudget() {
		return ErrBudget
	}
	if q.blocked && !c.sock.Nonblocking() {
		if ready, err := c.await(); !ready {
			return err
		}
		q.tier.Ready()
	}
	if q.connecting {
		if err := q.tier.Err(); err != nil {
			return c.failed(err)
		}
		q.connecting = false
	}
	n, err := q.tier.Send(q.Bytes[q.sent:], false)
	q.sent += n
	q.blocked = err == sock.ErrAgain
	switch {
	case q.blocked:
		return c.again(err)
	case err != nil:
		return c.failed(err)
	case q.sent == len(q.Bytes):
		q.parser.Reset(q.Replies)
		c.enter(hearing)
	}
	return nil
}

// connect gives the question a connection to the tier. It returns done if the question can be
// sent now.
func (c *Conn) connect(q *question) (done bool, err error) {
	w := c.worker
	for q.dialed = true; q.tier != nil; q.tier = w.takeFree() {
		if q.tier.Quiet() {
			q.tier.reused = true
			return true, nil
		}
		c.closeTier(q.tier)
	}
	s, err := sock.Connect(w.cfg.Tier)
	if err != nil && err != sock.ErrAgain {
		c.answered(Refused)
		return false, nil
	}
	q.tier = &tierConn{Conn: s}
	q.connecting = err == sock.ErrAgain
	q.blocked = q.connecting
	return !q.connecting, c.again(err)
}

// hear reads once from the connection to the tier and parses the bytes. That connection is non-blocking
// in all stages, so after a wait it must be told that it is Ready.
func (c *Conn) hear() error {
	q := c.ex.question
	if !c.sock.Nonblocking() {
		q.tier.Ready()
	}
	p := c.worker.scratchBytes()
	n, err := q.tier.Read(p)
	switch {
	case err == sock.ErrAgain:
		return c.again(err)
	case err != nil:
		return c.failed(err)
	case n == 0:
		return c.failed(io.EOF)
	}
	q.heard = true
	done, err := q.parser.Parse(p[:n])
	switch {
	case err != nil:
		c.answered(Garbled)
	case done:
		q.reply.Values = q.parser.Values()
		for i := range q.reply.Values {
			if q.reply.Values[i].Kind == resp.Error {
				q.reply.Outcome = ErrorReply
			}
		}
		c.answered(q.reply.Outcome)
	}
	return nil
}

// failed goes on after an error of the connection to the tier. The tier may have closed the connection
// before it read the question (the end of the stream, EPIPE, ECONNRESET), so the question is asked again on
// another one, if that does no harm. After other errors it is asked again only if the connection was reused.
func (c *Conn) failed(err error) error {
	q := c.ex.question
	closed := err == io.EOF || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
	switch {
	case (closed || q.tier.reused) && !q.heard && q.repeats < maxRepeats && (q.Again || q.sent == 0):
		c.closeTier(q.tier)
		q.tier, q.dialed, q.blocked, q.sent = nil, false, false, 0
		q.repeats++
		c.enter(asking)
	case q.sent == 0:
		c.answered(Refused)
	default:
		c.answered(Lost)
	}
	return nil
}

// expireQuestion handles the time-out of a question. The server may be late, so it first reads what has
// arrived of the reply.
func (c *Conn) expireQuestion() {
	q := c.ex.question
	c.Ready()
	for err := error(nil); err == nil && c.state == hearing; {
		before := q.parser.Taken()
		if err = c.hear(); q.parser.Taken() == before {
			break
		}
	}
	if c.asks() && c.ex.question == q {
		c.answered(TimedOut)
	}
}

// answered ends the question, queues the response, and parses the bytes of the next pipelined
// request.
func (c *Conn) answered(outcome Outcome) {
	c.settle(outcome)
	if c.answerNext() {
		c.parse()
	}
}

// settle ends the question, calls the handler with the outcome, and queues the response.
func (c *Conn) settle(outcome Outcome) {
	ex := c.ex
	q := ex.question
	q.reply.Outcome, q.reply.Keep = outcome, q.Keep
	ex.req.reply = &q.reply
	c.handle()
	q.release(c, outcome <= ErrorReply && !q.reply.rejected)
	if ex.res.question != nil { // the handler asks twice
		ex.res.Error(500, "")
	} else {
		c.accountReply()
	}
	c.queue()
}

// accountReply counts the memory of a response that contains a reply of the tier. If there is not
// enough for it, the response is replaced.
func (c *Conn) accountReply() {
	ex := c.ex
	ex.relayed = max(0, cap(ex.res.arena)-keepBuffer)
	if ex.account(c.worker.cfg) {
		return
	}
	ex.res.arena, ex.relayed = nil, 0
	ex.account(c.worker.cfg)
	ex.res.Error(503, "too many large responses at once")
}

// release takes the question out of the worker. keep says that its connection can carry another
// question. Otherwise the rest of a reply might arrive on it, so it is closed.
func (q *question) release(c *Conn, keep bool) {
	w := c.worker
	if q.place != nil {
		w.waiting.Remove(q.place)
	}
	if q.asker {
		w.askers--
	}
	switch {
	case q.tier == nil:
	case keep:
		w.freeTier = append(w.freeTier, q.tier)
	default:
		c.closeTier(q.tier)
	}
	q.place, q.asker, q.tier = nil, false, nil
	c.ex.question = nil
}

// closeTier closes a connection to the tier. For an event loop, Next does it later.
func (c *Conn) closeTier(t *tierConn) {
	if c.sock.Nonblocking() {
		c.worker.deadTier = append(c.worker.deadTier, t.Conn)
		return
	}
	_ = t.Close()
}
