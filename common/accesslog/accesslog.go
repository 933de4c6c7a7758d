// Package accesslog writes one line for each response, without ever making a
// worker wait for whoever reads the log. [Output] is what makes that so; everything else
// that the server says on stdout or stderr goes through one, too.
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
	"strconv"
	"sync"
	"time"

	"fourways.example/common/h1"
)

// maxField is how much of a method or a target is logged.
const maxField = 8 << 10

// Logger is an h1.Logger. It formats lines and hands them to an [Output].
type Logger struct {
	out  *Output // takes the lines; nil for none
	errs *Output // takes the reports of panics

	mu     sync.Mutex // guards what follows
	line   []byte     // the line being formatted
	second int64      // the Unix second that stamp shows
	stamp  []byte     // "[23/Nov/2026:05:30:00 +0000]", formatted once a second
}

// New returns a log that writes its lines to out and panics to errs. Without out (nil)
// there is no access log, but panics are still reported.
func New(out, errs *Output) *Logger {
	return &Logger{out: out, errs: errs, second: -1 << 63}
}

// Log adds a line. It takes a lock for the time it takes to format one, allocates
// nothing and keeps nothing of e.
func (l *Logger) Log(e *h1.Entry) {
	if l.out == nil || l.out.gone.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = l.append(l.line[:0], e)
	_, _ = l.out.Write(l.line) // never fails
}

// Panic reports a handler's panic on the error stream: the value on one line, however
// many the client talked it into, and the stack.
func (l *Logger) Panic(value any, stack []byte) {
	fmt.Fprintf(l.errs, "panic in a handler: %q\n%s\n", fmt.Sprint(value), stack)
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
