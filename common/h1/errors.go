package h1

import "errors"

// ErrYield says that the turn which [Conn.Grant] allowed is over. The connection has
// more to do at once; it only lets others go first.
var ErrYield = errors.New("h1: turn is over")

// Error is why a request is refused: the status to answer with, and a reason in a
// few words, which becomes the body of the answer.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return "h1: " + StatusText(e.Status) + ": " + e.Reason }

// What the parser refuses, in the order in which it can meet it. Every one of them
// ends the connection: behind a request whose limits are in doubt, nothing on the
// connection can be trusted to be a request (RFC 9112 §11.2, request smuggling).
var (
	// The request line.
	ErrEmptyLines   = &Error{400, "more than two empty lines before the request line"}
	ErrMethod       = &Error{400, "the method is not a token"}
	ErrMethodLong   = &Error{400, "the method is longer than 8 KiB"}
	ErrTarget       = &Error{400, "the request target is not well formed"}
	ErrTargetLong   = &Error{414, "the request target is longer than 8 KiB"}
	ErrEscape       = &Error{400, "the path has a percent sign without two hex digits behind it, or one that stands for a control byte"}
	ErrVersion      = &Error{400, "the request line does not end in HTTP/1.1"}
	ErrVersionMajor = &Error{505, "only HTTP/1.0 and HTTP/1.1 are spoken here"}

	// Field lines, in the head and in trailers.
	ErrObsFold     = &Error{400, "a field line begins with white space"}
	ErrFieldName   = &Error{400, "a field name is not a token with a colon right behind it"}
	ErrFieldValue  = &Error{400, "a field value holds a control byte"}
	ErrLineEnd     = &Error{400, "a line does not end in CR LF"}
	ErrHeadLong    = &Error{431, "the head is larger than 64 KiB"}
	ErrFieldsMany  = &Error{431, "there are more than 200 field lines"}
	ErrHostMissing = &Error{400, "there is no Host field"}
	ErrHostTwice   = &Error{400, "there is more than one Host field"}
	ErrHost        = &Error{400, "the Host field is not a host with an optional port"}
	ErrTypeTwice   = &Error{400, "there is more than one Content-Type field"}
	ErrExpectation = &Error{417, "the only expectation known here is 100-continue"}

	// The length of the body.
	ErrLength       = &Error{400, "Content-Length is not a number below 2 to the 63"}
	ErrLengthTwice  = &Error{400, "there are different Content-Length fields"}
	ErrLengthCoding = &Error{400, "there are both Content-Length and Transfer-Encoding"}
	ErrCoding       = &Error{400, "Transfer-Encoding is something else than chunked"}
	ErrCoding10     = &Error{400, "HTTP/1.0 has no Transfer-Encoding"}
	ErrCodingOther  = &Error{501, "the only transfer coding known here is chunked"}
	ErrBodyLong     = &Error{413, "the body is larger than 1 MiB"}
	ErrChunkExts    = &Error{413, "the chunk extensions are larger than 1 MiB"}

	// The body.
	ErrChunkSize = &Error{400, "a chunk does not begin with 1 to 16 hex digits"}
	ErrChunkExt  = &Error{400, "a chunk extension is not well formed"}
	ErrChunkLine = &Error{400, "a chunk line is longer than 4 KiB"}
	ErrChunkEnd  = &Error{400, "a chunk does not end in CR LF"}

	// Outside of the parser.
	errTruncated = &Error{400, "the request ended in its middle"}
	errTooSlow   = &Error{408, "the request took too long to arrive"}
	errMemory    = &Error{503, "too many large requests at once"}
)
