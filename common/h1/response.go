package h1

import "strconv"

// A Handler answers a request. It is called once for each request, after the whole body
// has arrived, and once more if it asks the other tier, see [Response.Ask]. It describes
// the response in w and never uses the socket. The connection sends the response as fast as
// the client takes it. If the handler panics, the client receives a 500, and the Logger
// reports the panic.
type Handler func(w *Response, r *Request)

// A File is an open file that a response sends. Several responses may send it at the same
// time. It counts references, so that it is closed only when all of them are done.
type File interface {
	// FD returns the open descriptor. sendfile(2) reads from it at explicit offsets.
	FD() int
	// Release drops one reference. h1 calls it once for each call of [Response.File].
	Release()
}

// A part is one part of a body: bytes of the caller, a range of an open file, or
// bytes in the arena of the response.
type part struct {
	bytes []byte // not nil: these bytes, which do not change until the response is sent
	file  File   // not nil: a range of this file
	off   int64  // the offset of the next byte to send, in the file or in the arena
	n     int64  // bytes left to send
}

// A Response describes the response to one request. The connection reuses its memory for
// the next request, so a handler must not keep it.
type Response struct {
	// Status is the status code. 0 means 200.
	Status int

	fields  []byte // field lines, each with its CRLF
	arena   []byte // the bytes that handlers appended to Build
	parts   []part // the body, in order
	length  int64  // the length of the body in bytes
	close   bool   // close the connection after this response
	refused bool   // the request is refused

	question *question // not nil: ask it, and call the handler again
}

// Field adds a header field. The name and the value must not contain control bytes,
// because a line end in them would start a new field (response splitting). Check text from
// a client before you pass it to Field.
func (w *Response) Field(name, value string) {
	w.fields = append(w.fields, name...)
	w.fields = append(w.fields, ": "...)
	w.fields = append(w.fields, value...)
	w.fields = append(w.fields, "\r\n"...)
}

// FieldBytes is like Field for a value in a byte slice. It copies the value.
func (w *Response) FieldBytes(name string, value []byte) {
	w.fields = append(w.fields, name...)
	w.fields = append(w.fields, ": "...)
	w.fields = append(w.fields, value...)
	w.fields = append(w.fields, "\r\n"...)
}

// RawFields adds complete field lines, each with its CRLF. A cache can prepare the field
// lines of a file once and add them to every response.
func (w *Response) RawFields(lines []byte) { w.fields = append(w.fields, lines...) }

// Bytes adds p to the body without copying it. p must not change until the response is
// sent. It may be the content of a cached file, a constant, or the body of the request.
func (w *Response) Bytes(p []byte) {
	if len(p) > 0 {
		w.add(part{bytes: p, n: int64(len(p))})
	}
}

// Build returns a slice of reused memory. Append a part of the body to it, then pass it to
// [Response.Built]:
//
//	b := w.Build()
//	b = strconv.AppendInt(b, n, 10)
//	w.Built(b)
//
// Do not call other methods of w between the two.
func (w *Response) Build() []byte { return w.arena }

// Built adds the bytes that were appended to the result of [Response.Build] to the body.
func (w *Response) Built(b []byte) {
	off := int64(len(w.arena))
	w.arena = b
	if n := int64(len(b)) - off; n > 0 {
		w.add(part{off: off, n: n})
	}
}

// File adds n bytes of f, from offset off on, to the body. It takes over one reference to
// f and releases it when the response is done.
func (w *Response) File(f File, off, n int64) {
	if n <= 0 {
		f.Release()
		return
	}
	w.add(part{file: f, off: off, n: n})
}

// Close makes the connection close after this response.
func (w *Response) Close() { w.close = true }

// Error replaces the response with a short text for an error. It drops the header fields
// and the body that w had. text describes the error in a few words. It may be empty.
func (w *Response) Error(status int, text string) {
	w.reset()
	w.Status = status
	w.Field("Content-Type", "text/plain; charset=utf-8")
	w.Field("X-Content-Type-Options", "nosniff")
	b := w.Build()
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, StatusText(status)...)
	if text != "" {
		b = append(b, ": "...)
		b = append(b, text...)
	}
	w.Built(append(b, '\n'))
}

// Refuse is like Error, and refuses the request, as the connection itself refuses a
// malformed one: the connection closes after the response, and drops the bytes that the
// client still sends. It is for a client that sends more than it should.
func (w *Response) Refuse(status int, text string) {
	w.Error(status, text)
	w.refused = true
}

// unknownMethod answers a request with a method that the server does not implement.
func (w *Response) unknownMethod() { w.Error(501, "the server does not implement this method") }

func (w *Response) add(p part) {
	w.parts = append(w.parts, p)
	w.length += p.n
}

// reset empties w and releases its files. It keeps the memory of w for reuse.
func (w *Response) reset() {
	w.dropBody()
	*w = Response{fields: w.fields[:0], arena: w.arena[:0], parts: w.parts[:0]}
}

// memory returns the bytes of a part that is not a file.
func (w *Response) memory(p *part) []byte {
	if p.bytes != nil {
		return p.bytes
	}
	return w.arena[p.off : p.off+p.n]
}

// skip removes the first n bytes of a part in memory, because they were sent.
func (p *part) skip(n int) {
	if p.bytes != nil {
		p.bytes = p.bytes[n:]
	} else {
		p.off += int64(n)
	}
}

// dropBody removes the body and releases its files. For a HEAD request, queue calls it
// after appendHead: the head keeps the Content-Length that the answer to a GET has.
func (w *Response) dropBody() {
	for i := range w.parts {
		if w.parts[i].file != nil {
			w.parts[i].file.Release()
		}
	}
	clear(w.parts)
	w.parts = w.parts[:0]
}

// appendHead appends the response head to b: the status line and the header fields
// (RFC 9112 §4, RFC 9110 §6.6.1 and §8.6).
func (w *Response) appendHead(b, date []byte, closing, keepAlive bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(w.Status), 10)
	b = append(b, ' ')
	b = append(b, StatusText(w.Status)...)
	b = append(b, "\r\nDate: "...)
	b = append(b, date...)
	b = append(b, "\r\n"...)
	switch {
	case closing:
		b = append(b, "Connection: close\r\n"...)
	case keepAlive:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	if w.Status != 204 && w.Status != 304 {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, w.length, 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, w.fields...)
	return append(b, "\r\n"...)
}

// StatusText returns the reason phrase of a status code that this server sends
// (RFC 9110 §15). For any other code it returns "Status".
func StatusText(status int) string {
	switch status {
	case 200:
		return "OK"
	case 201:
		return "Created"
	case 204:
		return "No Content"
	case 206:
		return "Partial Content"
	case 301:
		return "Moved Permanently"
	case 304:
		return "Not Modified"
	case 400:
		return "Bad Request"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 412:
		return "Precondition Failed"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 416:
		return "Range Not Satisfiable"
	case 417:
		return "Expectation Failed"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "Status"
}
