// Package accesslog writes one line for each response. A worker never waits for the reader
// of the log, because an [Output] queues the lines. All other lines on stdout and stderr go
// through an Output, too.
//
// A line has the Common Log Format and one more field:
//
//	192.0.2.7 - - [23/Nov/2026:05:30:00 +0000] "GET /x HTTP/1.1" 200 1234 0.000123
//
// It contains the address of the client (without the port, as programs that read logs
// expect), the time in UTC at which the response was complete, the request line, the status,
// the bytes that the kernel took, and the seconds since the first byte of the request. The
// bytes include the head of the response, unlike Apache's %b. If the response was not sent
// completely, the word "cut" follows. If the request line is incomplete, the line contains
// the part that arrived, such as "GET /x", or "-" if there is none.
package accesslog

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"fourways.example/common/h1"
)

// maxField is how many bytes of a method or a target are logged.
const maxField = 8 << 10

// A Logger formats lines and adds them to an [Output]. It is an h1.Logger.
type Logger struct {
	out  *Output // for the access log; nil if there is none
	errs *Output // for the reports of panics

	mu     sync.Mutex // guards what follows
	line   []byte     // the line being formatted
	second int64      // the Unix time of stamp
	stamp  []byte     // "[23/Nov/2026:05:30:00 +0000]", formatted once a second
}

// New returns a Logger that writes its lines to out and the reports of panics to errs. If
// out is nil, there is no access log, but panics are still reported.
func New(out, errs *Output) *Logger {
	return &Logger{out: out, errs: errs, second: -1 << 63}
}

// Log adds a line. It holds a lock while it formats the line. It allocates no memory and
// does not keep e.
func (l *Logger) Log(e *h1.Entry) {
	if l.out == nil || l.out.gone.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = l.append(l.line[:0], e)
	_, _ = l.out.Write(l.line) // never fails
}

// Panic reports the panic of a handler, with the value and the stack. It quotes the value,
// so that line ends from a client cannot forge a line.
func (l *Logger) Panic(value any, stack []byte) {
	fmt.Fprintf(l.errs, "panic in a handler: %q\n%s\n", fmt.Sprint(value), stack)
}

// append appends the line of e to b.
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

// appendEscaped appends bytes that a client has sent. The escapes make sure that they end
// neither the field nor the line, and that they send no control codes to a terminal that
// shows the log.
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

// appendSeconds appends d in seconds, with six digits after the decimal point.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(d, 0).Microseconds()
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	for unit := int64(100_000); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return b
}
