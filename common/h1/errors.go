package h1

import "errors"

// ErrBudget means that the connection has used all the system calls that [Conn.SetBudget]
// allowed. It may still have work to do: serve the other connections, set a new budget, and
// call Fill or Flush again.
var ErrBudget = errors.New("h1: the budget of system calls is used up")

// An Error is the reason why the server refuses a request. Status is the status code of
// the answer. Reason is a short text for the body of the answer.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return "h1: " + StatusText(e.Status) + ": " + e.Reason }

// Errors of the parser, in the order in which the parser can find them. Each of them ends
// the connection. If it is not certain where a request ends, the bytes after it may be a
// part of its body, and must not be read as the next request (RFC 9112 §11.2, request
// smuggling).
var (
	// The request line.
	ErrEmptyLines   = &Error{400, "more than two empty lines before the request line"}
	ErrMethod       = &Error{400, "the method is not a token"}
	ErrMethodLong   = &Error{400, "the method is longer than 8 KiB"}
	ErrTarget       = &Error{400, "the request target is malformed, or its form is not allowed for the method"}
	ErrTargetLong   = &Error{414, "the request target is longer than 8 KiB"}
	ErrEscape       = &Error{400, "a percent sign in the path is not followed by two hex digits, or encodes a control byte"}
	ErrVersion      = &Error{400, "the request line does not end with a version such as HTTP/1.1"}
	ErrVersionMajor = &Error{505, "the server supports only HTTP/1.0 and HTTP/1.1"}

	// Field lines, in the head and in the trailers.
	ErrObsFold     = &Error{400, "a field line begins with white space"}
	ErrFieldName   = &Error{400, "a field name is not a token that a colon follows directly"}
	ErrFieldValue  = &Error{400, "a field value contains a control byte"}
	ErrLineEnd     = &Error{400, "a line does not end with CR LF"}
	ErrHeadLong    = &Error{431, "the request head or the trailers are longer than 64 KiB"}
	ErrFieldsMany  = &Error{431, "there are more than 200 field lines"}
	ErrHostMissing = &Error{400, "the Host field is missing"}
	ErrHostTwice   = &Error{400, "there is more than one Host field"}
	ErrHost        = &Error{400, "the Host field is not a host with an optional port"}
	ErrTypeTwice   = &Error{400, "there is more than one Content-Type field"}
	ErrExpectation = &Error{417, "the server supports no expectation other than 100-continue"}

	// The length of the body.
	ErrLength       = &Error{400, "Content-Length is not a decimal number less than 2^63"}
	ErrLengthTwice  = &Error{400, "the Content-Length fields differ"}
	ErrLengthCoding = &Error{400, "the request has both Content-Length and Transfer-Encoding"}
	ErrCoding       = &Error{400, "Transfer-Encoding is malformed, or chunked is not its last coding"}
	ErrCoding10     = &Error{400, "HTTP/1.0 does not allow Transfer-Encoding"}
	ErrCodingFinal  = &Error{400, "the last transfer coding is not chunked, so the end of the body is unknown"}
	ErrCodingOther  = &Error{501, "the server supports no transfer coding other than chunked"}
	ErrBodyLong     = &Error{413, "the body is longer than 1 MiB"}
	ErrChunkExts    = &Error{413, "the chunk extensions are longer than 1 MiB in total"}

	// Chunks.
	ErrChunkSize = &Error{400, "a chunk does not begin with a size of 1 to 16 hex digits"}
	ErrChunkExt  = &Error{400, "a chunk extension is malformed"}
	ErrChunkLine = &Error{400, "a chunk line is longer than 4 KiB"}
	ErrChunkEnd  = &Error{400, "the data of a chunk does not end with CR LF"}

	// Errors that the connection finds, not the parser.
	errTruncated = &Error{400, "the connection ended in the middle of the request"}
	errTooSlow   = &Error{408, "the request took too long to arrive"}
	errMemory    = &Error{503, "too many large requests at once"}
)
