package h1

import "strconv"

// Handler turns a request into the description of a response. It is called once
// for each request, with the whole body, and it never touches the socket: whatever
// it describes is sent when the client can take it. A handler that panics is a 500
// and a line in the log.
type Handler func(w *Response, r *Request)

// File is an open file whose bytes a response sends. It is reference-counted by
// whoever opened it, because a file that is being sent must not be closed.
type File interface {
	// FD is the open descriptor; sendfile(2) reads from it at explicit offsets.
	FD() int
	// Release gives one reference back. h1 calls it once for each [Response.File].
	Release()
}

// part is one piece of a body: N bytes of memory, of an open file, or of the
// response's own arena.
type part struct {
	bytes []byte // memory that stays as it is until the response is sent
	file  File   // or an open file
	off   int64  // where in the file or in the arena the next byte to send lies
	n     int64  // bytes still to send
}

// Response is the description of a response. Its memory is reused from request to
// request; nothing of it may be kept by a handler.
type Response struct {
	// Status is the status code; 0 means 200.
	Status int

	fields []byte // field lines, each with its CRLF
	arena  []byte // what Build and Copy made
	parts  []part // the body, in order
	length int64  // bytes in parts
	close  bool   // close the connection behind this response
}

// Field adds a field line. Name and value are the server's own, known to hold no
// control bytes; text that a client sent must not come here unchecked.
func (w *Response) Field(name, value string) {
	w.fields = append(w.fields, name...)
	w.fields = append(w.fields, ": "...)
	w.fields = append(w.fields, value...)
	w.fields = append(w.fields, "\r\n"...)
}

// FieldBytes is Field for a value in a byte slice, which is copied.
func (w *Response) FieldBytes(name string, value []byte) {
	w.fields = append(w.fields, name...)
	w.fields = append(w.fields, ": "...)
	w.fields = append(w.fields, value...)
	w.fields = append(w.fields, "\r\n"...)
}

// RawFields adds field lines that were made before, each with its CRLF, such as
// those of a cached file.
func (w *Response) RawFields(lines []byte) { w.fields = append(w.fields, lines...) }

// Bytes adds p to the body without copying it. p must stay as it is until the
// response is sent: a cached file, a constant, the request's own body.
func (w *Response) Bytes(p []byte) {
	if len(p) > 0 {
		w.add(part{bytes: p, n: int64(len(p))})
	}
}

// Build returns memory to append a part of the body to; [Response.Built] adds it:
//
//	b := w.Build()
//	b = strconv.AppendInt(b, n, 10)
//	w.Built(b)
//
// Nothing else may be called on w in between.
func (w *Response) Build() []byte { return w.arena }

// Built adds to the body what was appended to the slice that [Response.Build] returned.
func (w *Response) Built(b []byte) {
	off := int64(len(w.arena))
	w.arena = b
	if n := int64(len(b)) - off; n > 0 {
		w.add(part{off: off, n: n})
	}
}

// File adds n bytes of f from offset off to the body and takes over one reference to f.
func (w *Response) File(f File, off, n int64) {
	if n <= 0 {
		f.Release()
		return
	}
	w.add(part{file: f, off: off, n: n})
}

// Close has the connection closed behind this response.
func (w *Response) Close() { w.close = true }

// Error makes w a short plain-text answer with the given status, dropping what
// body and fields it had. text says what is wrong, in a few words; it may be empty.
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

func (w *Response) add(p part) {
	w.parts = append(w.parts, p)
	w.length += p.n
}

// reset makes w an empty response, giving its files back and keeping its memory.
func (w *Response) reset() {
	w.dropBody()
	*w = Response{fields: w.fields[:0], arena: w.arena[:0], parts: w.parts[:0]}
}

// memory returns the bytes of a part that is no file.
func (w *Response) memory(p *part) []byte {
	if p.bytes != nil {
		return p.bytes
	}
	return w.arena[p.off : p.off+p.n]
}

// skip moves the front of a part in memory over n bytes that were sent.
func (p *part) skip(n int) {
	if p.bytes != nil {
		p.bytes = p.bytes[n:]
	} else {
		p.off += int64(n)
	}
}

// dropBody gives the body up, behind whose length the head was made already.
func (w *Response) dropBody() {
	for i := range w.parts {
		if w.parts[i].file != nil {
			w.parts[i].file.Release()
		}
	}
	clear(w.parts)
	w.parts = w.parts[:0]
}

// appendHead appends the head of the response (RFC 9112 §4, RFC 9110 §6.6.1 and §8.6).
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

// StatusText returns the reason phrase of the status codes that this server sends
// (RFC 9110 §15), or "Status" for any other.
func StatusText(status int) string {
	switch status {
	case 200:
		return "OK"
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
	case 503:
		return "Service Unavailable"
	case 505:
		return "HTTP Version Not Supported"
	}
	return "Status"
}
