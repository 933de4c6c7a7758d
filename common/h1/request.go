package h1

import (
	"iter"

	"fourways.example/common/stream"
)

// A Method is a request method that this server implements (RFC 9110 §9, RFC 5789).
type Method uint8

// The request methods. Unknown is CONNECT or any other token. The connection answers an
// unknown method with 501, so no handler receives it.
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

// methodOf returns the Method that token names. Methods are case-sensitive
// (RFC 9110 §9.1).
func methodOf(token []byte) Method {
	for m := GET; m <= TRACE; m++ {
		if string(token) == methodNames[m] {
			return m
		}
	}
	return Unknown
}

// A span is a range of positions in the received bytes. It includes from and excludes to.
type span struct{ from, to stream.Pos }

func (s span) len() int { return int(s.to - s.from) }

// field is one header field line, without its colon and the white space around the value.
type field struct{ name, value span }

// A Request is one parsed request. It belongs to its connection. Its slices, and the
// slices that its methods return, are valid until the response has been sent. A handler
// must neither change them nor keep them longer.
type Request struct {
	// Method is the request method. It is never Unknown in a handler.
	Method Method
	// Minor is the second digit of the version, such as the last 1 of HTTP/1.1. The server
	// treats the versions 1.2 to 1.9 as 1.1.
	Minor int
	// Path is the path of the target, percent-decoded once. It begins with "/". It may
	// contain dot segments, empty segments, and every byte except 00–1F and 7F. For
	// "OPTIONS *" it is "*".
	Path []byte
	// Length is the Content-Length, or -1 if there is none, as with a chunked body.
	Length int64
	// Body is the complete body, without the chunked coding. It is nil if there is none.
	Body []byte

	in      *stream.Buffer // the bytes that every span refers to
	method  span           // as received
	target  span           // as received
	host    span           // the authority in the target, or else the value of Host
	query   span           // after the "?" of the target; empty if there is none
	version span           // such as "HTTP/1.1"
	fields  []field        // in the order of arrival; the array is reused
	path    []byte         // the memory of Path, which is reused
	close   bool           // Connection: close, or HTTP/1.0 without keep-alive
	keep10  bool           // HTTP/1.0 with Connection: keep-alive
	reply   *Reply         // see Reply; nil before the other tier was asked
}

// Target returns the request target as the client sent it.
func (r *Request) Target() []byte { return r.bytes(r.target) }

// Query returns the part of the target after its "?", without decoding it.
func (r *Request) Query() []byte { return r.bytes(r.query) }

// Get returns the value of the first header field with the given name, without the white
// space around it. Names match in any letter case. ok reports whether there is such a
// field.
func (r *Request) Get(name string) (value []byte, ok bool) {
	for i := range r.fields {
		f := &r.fields[i]
		if f.name.len() == len(name) && EqualFold(r.bytes(f.name), name) {
			return r.bytes(f.value), true
		}
	}
	return nil, false
}

// Values yields the values of all header fields with the given name, in the order of
// arrival.
func (r *Request) Values(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range r.fields {
			f := &r.fields[i]
			if f.name.len() == len(name) && EqualFold(r.bytes(f.name), name) && !yield(r.bytes(f.value)) {
				return
			}
		}
	}
}

// Fields yields the name and the value of every header field, in the order of arrival.
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

// reset prepares r for the next request. It keeps the memory of r for reuse.
func (r *Request) reset(in *stream.Buffer) {
	*r = Request{Length: -1, in: in, fields: r.fields[:0], path: r.path[:0]}
}
