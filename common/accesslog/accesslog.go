// Package accesslog writes one line for each response, without ever making a
// worker wait for whoever reads the log.
//
// A line is Common Log Format with two more fields behind it:
//
//	192.0.2.7 - - [23/Nov/2026:05:30:00 +0000] "GET /x HTTP/1.1" 200 1234 0.000123
//
// The client's address (without its port, as log readers expect), the time in UTC at
// which the response was complete, the request line, the status, the bytes that the
// kernel took (with the head, unlike Apache's %b) and the seconds since the request's first
// byte. A response that did not get out whole has the word "cut" behind it. Of a request
// line that could not be read to its end there is what was: "GET /x", say, or "-" for nothing.
package accesslog

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/h1"
)

const (
	// bufferSize is what each of the two buffers holds: some 10,000 lines. A reader
	// that is further behind than that loses lines.
	bufferSize = 1 << 20
	// maxField is how much of a method or a target is logged.
	maxField = 8 << 10
	// maxLine is the longest line there can be: two fields with each byte escaped as
	// \xHH, and everything else. A buffer with so much room takes any line without growing.
	maxLine = 2*4*maxField + 512
	// gather is how long the writer waits for more lines before it writes: at most 100
	// writes a second, however many responses there are.
	gather = 10 * time.Millisecond
	// patience is how long Close waits for a reader that has stopped reading.
	patience = 100 * time.Millisecond
)

// Logger is an h1.Logger. Lines are formatted into one buffer while a goroutine of its
// own writes the other. If the reader falls behind until the first is full, lines
// are dropped and counted, and a line of the log says how many.
type Logger struct {
	out     io.Writer     // the lines; nil for none
	errs    io.Writer     // panics
	wake    chan struct{} // tells the writer that there is a line; holds at most one token
	closing chan struct{} // closed by Close: write what there is, now
	done    chan struct{} // closed by the writer when it has gone
	closed  sync.Once
	gone    atomic.Bool // nobody reads the log any more, or it is closed

	mu      sync.Mutex // guards what follows
	lines   []byte     // formatted and not yet taken by the writer
	dropped int        // lines that found no room since the writer last looked
	second  int64      // the Unix second that stamp shows
	stamp   []byte     // "[23/Nov/2026:05:30:00 +0000]", formatted once a second
}

// New starts a log that writes its lines to out and panics to errs. Without out (nil)
// there is no access log, but panics are still reported.
func New(out, errs io.Writer) *Logger {
	l := &Logger{
		out:     out,
		errs:    errs,
		wake:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
	}
	if out == nil {
		l.gone.Store(true)
		close(l.done)
		return l
	}
	l.lines = make([]byte, 0, bufferSize)
	l.second = -1 << 63
	go l.write()
	return l
}

// Log adds a line. It takes a lock for the time it takes to format one, allocates
// nothing and keeps nothing of e.
func (l *Logger) Log(e *h1.Entry) {
	if l.gone.Load() {
		return
	}
	l.mu.Lock()
	first := len(l.lines) == 0 && l.dropped == 0
	if cap(l.lines)-len(l.lines) < maxLine {
		l.dropped++
	} else {
		l.lines = l.append(l.lines, e)
	}
	l.mu.Unlock()
	if first {
		select {
		case l.wake <- struct{}{}:
		default: // the writer is about to look anyway
		}
	}
}

// Panic reports a handler's panic on the error stream: the value on one line, however
// many the client talked it into, and the stack.
func (l *Logger) Panic(value any, stack []byte) {
	fmt.Fprintf(l.errs, "panic in a handler: %q\n%s\n", fmt.Sprint(value), stack)
}

// Close writes the lines that are left and ends the log. It gives up after a moment
// where nobody reads them: a stuck reader may not keep the server from its end. Lines
// logged later are lost.
func (l *Logger) Close() {
	l.closed.Do(func() { close(l.closing) })
	select {
	case <-l.done:
	case <-time.After(patience):
	}
}

// write is the goroutine: it waits for a line, lets some more gather, swaps the
// buffers and writes without holding the lock.
func (l *Logger) write() {
	defer close(l.done)
	defer l.gone.Store(true)
	spare := make([]byte, 0, bufferSize)
	for closing := false; !closing; {
		select {
		case <-l.wake:
			select {
			case <-time.After(gather):
			case <-l.closing:
				closing = true
			}
		case <-l.closing:
			closing = true
		}
		l.mu.Lock()
		full, dropped := l.lines, l.dropped
		l.lines, l.dropped = spare[:0], 0
		l.mu.Unlock()
		if dropped > 0 { // never allocates: maxLine was left free
			full = strconv.AppendInt(full, int64(dropped), 10)
			full = append(full, " lines dropped\n"...)
		}
		if len(full) > 0 {
			if _, err := l.out.Write(full); err != nil {
				// EPIPE: whoever read the log has left (`server | head -1`). That is
				// no concern of the clients', and nobody is there to be told.
				return
			}
		}
		spare = full
	}
}

// append formats e behind b.
func (l *Logger) append(b []byte, e *h1.Entry) []byte {
	if addr := e.Peer.Addr(); addr.IsValid() {
		b = addr.AppendTo(b)
	} else {
		b = append(b, '-')
	}
	if s := e.Time.Unix(); s != l.second {
		l.second = s
		l.stamp = e.Time.UTC().AppendFormat(l.stamp[:0], "[02/Jan/2006:15:04:05 -0700]")
	}
	b = append(b, " - - "...)
	b = append(b, l.stamp...)
	b = append(b, ` "`...)
	if len(e.Method) > 0 {
		b = appendEscaped(b, e.Method)
	} else {
		b = append(b, '-')
	}
	for _, part := range [...][]byte{e.Target, e.Version} {
		if len(part) > 0 {
			b = append(b, ' ')
			b = appendEscaped(b, part)
		}
	}
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, e.Bytes, 10)
	b = append(b, ' ')
	b = appendSeconds(b, e.Took)
	if e.Cut {
		b = append(b, " cut"...)
	}
	return append(b, '\n')
}

// appendEscaped adds what a client sent, so that it can neither end the field nor the
// line, nor talk to the terminal on which the log is read.
func appendEscaped(b, s []byte) []byte {
	const hex = "0123456789abcdef"
	more := len(s) > maxField
	if more {
		s = s[:maxField]
	}
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c > 0x7e:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	if more {
		b = append(b, "..."...)
	}
	return b
}

// appendSeconds adds d in seconds with six digits behind the point.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	for unit := int64(100_000); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return b
}
