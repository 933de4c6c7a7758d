package h1

import (
	"container/list"
	"time"

	"fourways.example/common/sock"
	"fourways.example/common/stream"
	"golang.org/x/sys/unix"
)

const (
	// baseBuffer is the size of the buffer of a small request, in bytes. A pooled exchange
	// keeps no larger request buffer than this.
	baseBuffer = 16 << 10
	// keepBuffer limits each response buffer of a pooled exchange, in bytes. It is twice
	// baseBuffer, because a response head and one piece of the body must fit.
	keepBuffer = 2 * baseBuffer
	// maxMemory limits the memory of all requests under way together, in bytes. The first
	// baseBuffer bytes of each request do not count.
	maxMemory = 64 << 20
)

// A Worker holds what the connections of one thread share, such as the formatted date. The
// worker and its connections belong to that thread. Other threads may only call Open.
type Worker struct {
	cfg     *Config
	scratch []byte // see scratchBytes
	poll    [2]unix.PollFd
	entry   Entry // reused: a new Entry for each call of Logger.Log would be allocated

	freeTier []*tierConn // connections to the other tier that no question uses
	askers   int         // questions that have a connection to the tier or may make one; with freeTier at most TierConns
	waiting  list.List   // of *question: the questions that wait until there are fewer askers
	deadTier []sock.Conn // connections to the tier that Next closes

	dateText [len(IMFFixdate)]byte
	dateEnds int64 // when the second of dateText ends, as a value of now()
}

// NewWorker returns a worker for one thread.
func (cfg *Config) NewWorker() *Worker { return &Worker{cfg: cfg} }

// Open returns a Conn that speaks HTTP on an accepted connection. Its idle time-out begins
// now. Open may be called from any thread.
func (w *Worker) Open(s sock.Conn) Conn {
	return Conn{sock: s, worker: w, since: now()}
}

// scratchBytes returns memory for bytes that are read and not kept.
func (w *Worker) scratchBytes() []byte {
	if w.scratch == nil {
		w.scratch = make([]byte, baseBuffer)
	}
	return w.scratch
}

// An exchange is the memory for one request and its response. An idle connection has no
// exchange, so 10,000 idle connections need little memory.
type exchange struct {
	in     stream.Buffer
	parser Parser
	req    Request
	res    Response

	// out holds the responses that share a send: complete ones to earlier requests, and then
	// the head of res and as much of its body as onePiece allows.
	out      []byte
	outSent  int        // bytes of out that were sent
	queued   int        // where res begins in out
	answers  int        // how many responses are before res
	kept     []answered // what the log needs of these responses
	texts    []byte     // the methods, targets and versions of their requests, one after another
	part     int        // the index of the first part of res that was not sent completely
	sent     int64      // bytes of the queued responses that the kernel took
	question *question  // the question under way, in waiting, asking and hearing
	began    int64      // when the first byte of the request arrived, as a value of now(); 0 before it or without a log
	memory   int64      // the bytes that this exchange has added to Config.memory
	relayed  int        // bytes of res.arena beyond keepBuffer that come from the other tier
}

// borrow returns the exchange of the connection. If the connection has none, borrow takes
// one from a pool that all workers share. A peak of load may need thousands of exchanges.
// They do not stay forever, because the garbage collector empties the pool.
func (c *Conn) borrow() *exchange {
	if c.ex != nil {
		return c.ex
	}
	ex, ok := c.worker.cfg.exchanges.Get().(*exchange)
	if !ok {
		ex = new(exchange)
	}
	c.ex = ex
	ex.in.Reset(c.received, baseBuffer)
	ex.parser.Reset(&ex.req, &ex.in)
	return ex
}

// returnExchange returns the exchange of the connection to the pool. The received bytes
// are lost.
func (c *Conn) returnExchange() {
	ex := c.ex
	if ex == nil {
		return
	}
	c.ex = nil
	c.received = ex.in.End()
	ex.res.reset()
	ex.shrink()
	if ex.memory != 0 {
		c.worker.cfg.memory.Add(-ex.memory)
	}
	ex.memory, ex.relayed, ex.began = 0, 0, 0
	c.worker.cfg.exchanges.Put(ex)
}

// shrink frees the memory that only a large request or response needs.
func (ex *exchange) shrink() {
	ex.in.Reset(0, baseBuffer)
	if cap(ex.parser.body) > baseBuffer {
		ex.parser.body = nil
	}
	if cap(ex.out) > keepBuffer {
		ex.out = nil
	}
	if cap(ex.texts) > baseBuffer {
		ex.texts = nil
	}
	if cap(ex.res.arena) > keepBuffer {
		ex.res.arena = nil
	}
}

// account updates Config.memory with the memory of this exchange. It returns false if the
// exchange has grown and all exchanges together exceed maxMemory. The first baseBuffer
// bytes of a request do not count, so a small request is served even if others use all of
// maxMemory.
func (ex *exchange) account(cfg *Config) bool {
	holds := int64(max(0, ex.in.Cap()-baseBuffer) + max(0, cap(ex.parser.body)-baseBuffer) + ex.relayed)
	grew := holds - ex.memory
	if grew == 0 {
		return true
	}
	ex.memory = holds
	total := cfg.memory.Add(grew)
	return grew < 0 || total <= maxMemory
}

// IMFFixdate is the layout of HTTP dates for time.Format. A server must send dates only in
// this format (RFC 9110 §5.6.7).
const IMFFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// date returns the current time for a Date field. at is the value of now(). It reads the
// system's date once a second, so if the date is changed, it takes up to a second to notice.
func (w *Worker) date(at int64) []byte {
	if at >= w.dateEnds {
		t := time.Now()
		t.UTC().AppendFormat(w.dateText[:0], IMFFixdate)
		w.dateEnds = int64(t.Sub(start)) + int64(time.Second) - int64(t.Nanosecond())
	}
	return w.dateText[:]
}
