package h1

import (
	"iter"

	"fourways.example/common/stream"
)

// Method is a request method that this server knows (RFC 9110 §9, RFC 5789).
type Method uint8

// The known methods. Unknown stands for CONNECT and for every other token: the
// server answers those with 501 itself and no handler ever sees them.
const (
	Unknown Method = iota
	GET
	HEAD
	POST
	PUT
	PATCH
	DELETE
	OPTIONS
	TRACE
)

var methodNames = [...]string{"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}

func (m Method) String() string { return methodNames[m] }

// methodOf finds the Method of a token. Methods are case-sensitive (RFC 9110 §9.1).
func methodOf(token []byte) Method {
	for m := GET; m <= TRACE; m++ {
		if string(token) == methodNames[m] {
			return m
		}
	}
	return Unknown
}

// span is a piece of what the connection received, from one position up to another.
type span struct{ from, to stream.Pos }

func (s span) len() int { return int(s.to - s.from) }

// field is one header field line, without its colon and the white space around the value.
type field struct{ name, value span }

// Request is one parsed request. It belongs to its connection: everything in it,
// every returned slice included, is valid until the response has been sent, and
// must not be changed or kept longer.
type Request struct {
	// Method is never Unknown in a handler.
	Method Method
	// Minor is the 1 of HTTP/1.1. Versions 1.2 to 1.9 keep their digit here and are
	// treated as 1.1.
	Minor int
	// Path is the target's path, percent-decoded once. It begins with "/" and may hold
	// dot segments, empty segments and any byte but 00–1F and 7F. For "OPTIONS *" it is "*".
	Path []byte
	// Body is the whole content, already free of its chunked coding; nil if there was none.
	Body []byte

	in      *stream.Buffer // what every span points into
	method  span           // as it was sent
	target  span           // as it was sent
	host    span           // the authority that the request was sent to
	query   span           // behind the "?", empty if there was none
	version span           // "HTTP/1.1"
	fields  []field        // in the order they came; the array is reused
	path    []byte         // the memory behind Path, reused
	close   bool           // the client asked for, or HTTP/1.0 implies, Connection: close
	keep10  bool           // HTTP/1.0 with Connection: keep-alive
}

// Target returns the request target as it was sent.
func (r *Request) Target() []byte { return r.bytes(r.target) }

// Query returns what stands behind the target's "?", not decoded.
func (r *Request) Query() []byte { return r.bytes(r.query) }

// Host returns what the request was sent to: the target's authority in absolute form,
// else the Host field. It is empty only in HTTP/1.0.
func (r *Request) Host() []byte { return r.bytes(r.host) }

// Get returns the value of the first field with the given name, in any letter case,
// without the white space around it; ok tells whether there is one.
func (r *Request) Get(name string) (value []byte, ok bool) {
	for i := range r.fields {
		f := &r.fields[i]
		if f.name.len() == len(name) && equalFold(r.bytes(f.name), name) {
			return r.bytes(f.value), true
		}
	}
	return nil, false
}

// Values yields the values of all fields with the given name, in the order they came.
func (r *Request) Values(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range r.fields {
			f := &r.fields[i]
			if f.name.len() == len(name) && equalFold(r.bytes(f.name), name) && !yield(r.bytes(f.value)) {
				return
			}
		}
	}
}

// Fields yields the name and the value of every field, in the order they came.
func (r *Request) Fields() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for _, f := range r.fields {
			if !yield(r.bytes(f.name), r.bytes(f.value)) {
				return
			}
		}
	}
}

func (r *Request) bytes(s span) []byte {
	if s.from == s.to {
		return nil
	}
	return r.in.Bytes(s.from, s.to)
}

// reset makes r ready for the next request, keeping its memory.
func (r *Request) reset(in *stream.Buffer) {
	*r = Request{in: in, fields: r.fields[:0], path: r.path[:0]}
}
