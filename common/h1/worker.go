package h1

import (
	"time"

	"fourways.example/common/sock"
	"fourways.example/common/stream"
	"golang.org/x/sys/unix"
)

const (
	// keepBuffer is how much memory a buffer may keep for the next request, in bytes.
	keepBuffer = 64 << 10
	// keepFree is how many exchanges a worker keeps for later. A busy moment may need
	// thousands; they should not stay for ever.
	keepFree = 64
	// maxMemory bounds what the requests of all connections hold together, in bytes,
	// beyond the buffer that each request being read has anyway.
	maxMemory = 64 << 20
	// baseBuffer is that buffer's size.
	baseBuffer = 16 << 10
)

// Worker is what one thread lends to the connections it serves: memory for requests
// and responses while there is one under way, and the current date as text. It belongs
// to one thread, and so do its connections.
type Worker struct {
	cfg     *Config
	free    []*exchange
	scratch []byte // what is read only to be dropped
	poll    [2]unix.PollFd
	entry   Entry // reused, for a Logger's argument would be allocated each time

	date     [len(IMFFixdate)]byte
	dateUnix int64 // the second that date names
}

// NewWorker returns a worker for one thread.
func (cfg *Config) NewWorker() *Worker { return &Worker{cfg: cfg} }

// Open makes an accepted connection one that speaks HTTP. Its idle time begins now. Any
// thread may open connections for a worker.
func (w *Worker) Open(s sock.Conn) *Conn {
	return &Conn{sock: s, worker: w, since: now()}
}

// exchange is the memory of one request and its response. An idle connection has
// none, which is what makes ten thousand of them cheap.
type exchange struct {
	in     stream.Buffer
	parser Parser
	req    Request
	res    Response

	out      []byte // the head, and behind it what fits of a small body
	outSent  int    // bytes of out that were sent
	part     int    // the first part of res that was not sent whole
	sent     int64  // bytes of this response that the kernel took
	accepted int64  // bytes of it that the client had acknowledged when last asked
	began    int64  // when the request's first byte came, as now() says
	memory   int64  // what it holds of Config.memory
}

// borrow gives the connection an exchange, from the worker's pool if it has one.
func (c *Conn) borrow() *exchange {
	if c.ex != nil {
		return c.ex
	}
	w := c.worker
	if n := len(w.free); n > 0 {
		c.ex, w.free = w.free[n-1], w.free[:n-1]
	} else {
		c.ex = new(exchange)
	}
	c.ex.in.Reset(c.received, keepBuffer)
	c.ex.parser.Reset(&c.ex.req, &c.ex.in)
	return c.ex
}

// giveBack returns the exchange to the pool. What the connection received is
// forgotten.
func (c *Conn) giveBack() {
	ex := c.ex
	if ex == nil {
		return
	}
	c.ex = nil
	c.received = ex.in.End()
	ex.res.reset()
	ex.shrink()
	c.worker.cfg.memory.Add(-ex.memory)
	ex.memory, ex.began = 0, 0
	if len(c.worker.free) < keepFree {
		c.worker.free = append(c.worker.free, ex)
	}
}

// shrink drops memory that only a rare request needs.
func (ex *exchange) shrink() {
	ex.in.Reset(0, keepBuffer)
	if cap(ex.parser.body) > keepBuffer {
		ex.parser.body = nil
	}
	if cap(ex.out) > keepBuffer {
		ex.out = nil
	}
	if cap(ex.res.arena) > keepBuffer {
		ex.res.arena = nil
	}
}

// account brings Config.memory up to date with what this exchange holds, and tells
// whether all of them together may hold that much.
func (ex *exchange) account(cfg *Config) bool {
	holds := int64(max(0, ex.in.Cap()-baseBuffer) + cap(ex.parser.body))
	total := cfg.memory.Add(holds - ex.memory)
	grew := holds > ex.memory
	ex.memory = holds
	return !grew || total <= maxMemory
}

// IMFFixdate is the one form of a date that may be sent (RFC 9110 §5.6.7), for time.Format.
const IMFFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// today returns the date of a response, which is made once a second.
func (w *Worker) today() []byte {
	t := time.Now()
	if unix := t.Unix(); unix != w.dateUnix {
		w.dateUnix = unix
		t.UTC().AppendFormat(w.date[:0], IMFFixdate)
	}
	return w.date[:]
}

var start = time.Now()

// now is the monotonic clock in nanoseconds since the program began: eight bytes in
// a connection where a time.Time would take 24.
func now() int64 { return int64(time.Since(start)) }
