package site

import (
	"bytes"
	"io"
	"os"

	"fourways.example/common/h1"
)

// The kernel makes the content of a file in /proc when it is read from offset 0. So the site
// opens these files once and reads them for each request. This needs no disk and no
// allocation.

// serveLoadavg answers with the load of the machine as JSON.
func (s *Site) serveLoadavg(w *h1.Response) {
	var memory [256]byte
	if text, ok := readProc(w, s.loadavg, memory[:]); ok {
		b, ok := appendLoadavg(w.Build(), text)
		answerJSON(w, b, ok)
	}
}

// serveMeminfo answers with the memory statistics of the machine as JSON.
func (s *Site) serveMeminfo(w *h1.Response) {
	var memory [8 << 10]byte
	if text, ok := readProc(w, s.meminfo, memory[:]); ok {
		b, ok := appendMeminfo(w.Build(), text)
		answerJSON(w, b, ok)
	}
}

// answerJSON sends b, which was appended to w.Build(). If ok is false, it answers 404.
func answerJSON(w *h1.Response, b []byte, ok bool) {
	if !ok {
		w.Error(404, noStatistics)
		return
	}
	w.RawFields(jsonLines)
	w.Built(b)
}

const noStatistics = "this system does not provide these statistics"

// readProc reads a file of /proc into memory, which is much larger than these files. If f is
// nil or cannot be read, it answers the request and returns false.
func readProc(w *h1.Response, f *os.File, memory []byte) (text []byte, ok bool) {
	if f == nil {
		w.Error(404, noStatistics)
		return nil, false
	}
	n, err := f.ReadAt(memory, 0)
	if err != nil && err != io.EOF {
		unavailable(w, err)
		return nil, false
	}
	return memory[:n], true
}

// appendLoadavg appends the content of /proc/loadavg, such as "0.10 0.20 0.30 1/99 4321", as
// JSON. proc_loadavg(5) describes the format.
func appendLoadavg(b, text []byte) (_ []byte, ok bool) {
	var words [4][]byte
	rest := text
	for i := range words {
		var found bool
		if words[i], rest, found = bytes.Cut(rest, []byte(" ")); !found || len(words[i]) == 0 {
			return b, false
		}
	}
	running, total, found := bytes.Cut(words[3], slash)
	if !found {
		return b, false
	}
	b = appendQuoted(append(b, `{"loadavg":[`...), words[0])
	b = appendQuoted(append(b, ','), words[1])
	b = appendQuoted(append(b, ','), words[2])
	b = appendQuoted(append(b, `],"running_threads":`...), running)
	b = appendQuoted(append(b, `,"total_threads":`...), total)
	return append(b, '}'), true
}

// appendQuoted appends word as a JSON string. The words of the kernel need no escapes.
func appendQuoted(b, word []byte) []byte { return append(append(append(b, '"'), word...), '"') }

// appendMeminfo appends the content of /proc/meminfo as JSON. A line is like
// "MemTotal:  16315168 kB"; proc_meminfo(5) describes the format. appendMeminfo ignores a
// line that is not a name and a number.
func appendMeminfo(b, text []byte) (_ []byte, ok bool) {
	b = append(b, '{')
	for more := true; more; {
		var line []byte
		line, text, more = bytes.Cut(text, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value, _, _ = bytes.Cut(h1.TrimOWS(value), []byte(" "))
		if _, number := parseDigits(value); !number || len(name) == 0 || !more {
			continue // a line without a line end may be incomplete
		}
		if ok {
			b = append(b, ',')
		}
		b = append(append(appendQuoted(b, name), ':'), value...)
		ok = true
	}
	return append(b, '}'), ok
}
