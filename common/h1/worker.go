package h1

import (
	"time"

	"fourways.example/common/sock"
	"fourways.example/common/stream"
	"golang.org/x/sys/unix"
)

const (
	// baseBuffer is the size of the buffer that each request being read has, in bytes.
	baseBuffer = 16 << 10
	// keepBuffer is how much of each kind of memory a pooled exchange may keep, in bytes.
	// It is twice baseBuffer for what holds a head and a piece of a body.
	keepBuffer = 2 * baseBuffer
	// maxMemory bounds what the requests of all connections hold together, in bytes,
	// beyond the first baseBuffer of each.
	maxMemory = 64 << 20
)

// Worker is what one thread lends to the connections it serves: memory for requests
// and responses while there is one under way, and the current date as text. It belongs
// to one thread, and so do its connections.
type Worker struct {
	cfg     *Config
	scratch []byte // what is read only to be dropped
	poll    [2]unix.PollFd
	entry   Entry // reused, for a Logger's argument would be allocated each time

	dateText [len(IMFFixdate)]byte
	dateUnix int64 // the second that dateText names
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

	out     []byte // the head, followed by what fits of a small body
	outSent int    // bytes of out that were sent
	part    int    // the first part of res that was not sent whole
	sent    int64  // bytes of this response that the kernel took
	began   int64  // when the request's first byte came, as now() says
	memory  int64  // what it holds of Config.memory
}

// borrow gives the connection an exchange. It comes from a pool that all workers share and
// the garbage collector empties: a busy moment may need thousands, and they do not stay
// for ever.
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

// returnExchange returns the exchange to the pool. What the connection received is
// forgotten.
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
	ex.memory, ex.began = 0, 0
	c.worker.cfg.exchanges.Put(ex)
}

// shrink drops memory that only a rare request needs.
func (ex *exchange) shrink() {
	ex.in.Reset(0, baseBuffer)
	if cap(ex.parser.body) > baseBuffer {
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
// whether all of them together may hold that much. What every request has anyway does not
// count, so a small request is served however much the others hold.
func (ex *exchange) account(cfg *Config) bool {
	holds := int64(max(0, ex.in.Cap()-baseBuffer) + max(0, cap(ex.parser.body)-baseBuffer))
	grew := holds - ex.memory
	if grew == 0 {
		return true
	}
	ex.memory = holds
	total := cfg.memory.Add(grew)
	return grew < 0 || total <= maxMemory
}

// IMFFixdate is the one form of a date that may be sent (RFC 9110 §5.6.7), for time.Format.
const IMFFixdate = "Mon, 02 Jan 2006 15:04:05 GMT"

// date returns the date of a response, which is made once a second.
func (w *Worker) date() []byte {
	t := time.Now()
	if unix := t.Unix(); unix != w.dateUnix {
		w.dateUnix = unix
		t.UTC().AppendFormat(w.dateText[:0], IMFFixdate)
	}
	return w.dateText[:]
}
