package site

import (
	"bytes"
	"io"
	"os"

	"fourways.example/common/h1"
)

// The kernel makes the text of these files anew for each read from their start, so
// they are opened once; reading them needs neither the disk nor an allocation.

// serveLoadavg answers with the load of the machine.
func (s *Site) serveLoadavg(w *h1.Response) {
	var memory [256]byte
	b, ok := appendLoadavg(w.Build(), read(s.loadavg, memory[:]))
	answerJSON(w, b, ok)
}

// serveMeminfo answers with the memory of the machine.
func (s *Site) serveMeminfo(w *h1.Response) {
	var memory [8 << 10]byte
	b, ok := appendMeminfo(w.Build(), read(s.meminfo, memory[:]))
	answerJSON(w, b, ok)
}

// answerJSON sends what was appended to w.Build(), or says that it could not be made.
func answerJSON(w *h1.Response, b []byte, ok bool) {
	if !ok {
		w.Error(404, "this system does not tell")
		return
	}
	w.RawFields(jsonLines)
	w.Built(b)
}

// read reads all of a file of /proc, as far as memory has room, which is ample. It
// returns nothing if f is nil or cannot be read.
func read(f *os.File, memory []byte) []byte {
	n, err := f.ReadAt(memory, 0) // a nil *os.File is an error, not a panic
	if err != nil && err != io.EOF {
		return nil
	}
	return memory[:n]
}

// appendLoadavg turns "0.10 0.20 0.30 1/99 4321", as of proc_loadavg(5), into JSON.
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

// appendQuoted appends a word of the kernel's, which has nothing to escape.
func appendQuoted(b, word []byte) []byte { return append(append(append(b, '"'), word...), '"') }

// appendMeminfo turns lines like "MemTotal:  16315168 kB", as of proc_meminfo(5),
// into JSON. What is not a name and a number is left out.
func appendMeminfo(b, text []byte) (_ []byte, ok bool) {
	b = append(b, '{')
	for more := true; more; {
		var line []byte
		line, text, more = bytes.Cut(text, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value, _, _ = bytes.Cut(h1.TrimOWS(value), []byte(" "))
		if _, number := parseDigits(value); !number || len(name) == 0 || !more {
			continue // the last line has no end if memory was too small: it may be cut
		}
		if ok {
			b = append(b, ',')
		}
		b = append(append(appendQuoted(b, name), ':'), value...)
		ok = true
	}
	return append(b, '}'), ok
}
