package h1

import "fourways.example/common/stream"

// Limits of a request. Sizes are in bytes.
const (
	maxMethod    = 8 << 10
	maxTarget    = 8 << 10
	maxHead      = 64 << 10 // the request head with its final empty line; the trailers as well
	maxFields    = 200      // field lines in the head; in the trailers as well
	maxBody      = 1 << 20  // after the chunked coding is removed
	maxChunkLine = 4 << 10  // without its CR LF
	maxChunkExt  = 1 << 20  // the extensions of all chunks together (RFC 9112 §7.1.1)
	maxHexDigits = 16       // in a chunk size: they fit into 64 bits
)

// Parser reads one request from a [stream.Buffer]. It can stop after any byte and continue
// when more bytes arrive. Its fields store the progress as positions and counts, so it need
// not examine earlier bytes again when it continues.
//
// The parser is a state machine with one function for each state. A state function takes
// some bytes and sets the next state. It refuses a byte at once if no valid request can
// continue with it. A target or a field line is interpreted once, when it is complete.
type Parser struct {
	req   *Request
	state state
	phase phase

	headEnd    stream.Pos // the head or the trailers must end before this position; 0 for no limit
	token      stream.Pos // the start of the token being read
	valueEnd   stream.Pos // the end of the field value and its trailing white space
	name       span       // the name of the current field line
	query      stream.Pos // the position after the target's "?", or 0
	emptyLines int        // empty lines before the request line
	fields     int        // field lines so far, in the head or in the trailers
	at         int        // progress within a state, such as bytes of the version or digits of a size

	major     byte  // the first digit of the version
	host      bool  // there was a Host field
	ctype     bool  // there was a Content-Type field
	length    int64 // Content-Length, or -1
	coding    coding
	keepAlive bool // Connection: keep-alive
	badExpect bool // an expectation other than 100-continue
	expect    bool // Expect: 100-continue

	bodyStart stream.Pos // the first position after the head
	left      int64      // bytes of the body or of the current chunk that have not arrived
	chunkSize uint64
	chunkLine int    // bytes of the current chunk line so far
	chunkExt  int    // bytes of all chunk extensions so far
	body      []byte // the decoded chunked body; its memory is reused
}

// A state is the function for one state of the parser. It examines data, which is never
// empty, and returns how many bytes it took. It may take none only if it also sets another
// state; otherwise Parse would loop forever.
type state func(p *Parser, data []byte) (int, error)

// A phase is a part of a request. It decides which time-out is running.
type phase uint8

const (
	phaseBefore phase = iota // before the first byte of the request line
	phaseHead
	phaseBody
	phaseDone
)

// A coding describes the list of transfer codings of the body so far.
type coding uint8

const (
	codingNone    coding = iota // there is no Transfer-Encoding field
	codingChunked               // chunked, and nothing else
	codingOther                 // only codings that this server does not implement
	codingMixed                 // such codings, and then chunked
)

// Reset prepares p to read the next request from in into req. It keeps the memory of p and
// req for reuse.
func (p *Parser) Reset(req *Request, in *stream.Buffer) {
	req.reset(in)
	*p = Parser{req: req, state: beforeLine, length: -1, body: p.body[:0]}
}

// Parse continues with the unread bytes of in. It returns true if the request is complete,
// and false if it needs more bytes. If it refuses the request, the error is an [*Error].
// After a complete or refused request, call Reset before the next Parse.
//
// The result does not depend on how the input is split into reads: the request, the error
// and the read position of in are always the same.
func (p *Parser) Parse(in *stream.Buffer) (done bool, err error) {
	for p.phase != phaseDone {
		data := in.Unread()
		if len(data) == 0 {
			break
		}
		if p.headEnd > 0 {
			data = data[:min(len(data), int(p.headEnd-in.Pos()))]
		}
		n, err := p.state(p, data)
		in.Advance(n)
		if err != nil {
			return false, err
		}
		// A complete head sets headEnd to 0. So this head is not complete, and it has used
		// all the bytes that it may have.
		if p.headEnd > 0 && in.Pos() == p.headEnd {
			return false, ErrHeadLong
		}
	}
	if p.coding == codingChunked && p.phase == phaseBody {
		// The chunks are decoded into p.body, and extensions and trailers are dropped. The
		// encoded bytes are no longer needed.
		in.Cut(p.bodyStart)
	}
	if p.phase == phaseDone {
		p.finish(in)
	}
	return p.phase == phaseDone, nil
}

// finish sets the body of the request.
func (p *Parser) finish(in *stream.Buffer) {
	switch {
	case p.coding == codingChunked:
		p.req.Body = p.body
	case p.length > 0:
		p.req.Body = in.Bytes(p.bodyStart, p.bodyStart+stream.Pos(p.length))
	}
}

// untouched reports whether the parser has taken no byte since Reset.
func (p *Parser) untouched() bool { return p.phase == phaseBefore && p.emptyLines == 0 }

// wants returns how many more bytes belong to this request, or 0 if that is not known. It
// is known only for a body with a Content-Length.
func (p *Parser) wants(in *stream.Buffer) int {
	if p.phase != phaseBody || p.coding != codingNone {
		return 0
	}
	return int(p.left)
}

// The request line (RFC 9112 §3).

// beforeLine skips the empty lines that some clients send after a body (RFC 9112 §2.2).
func beforeLine(p *Parser, data []byte) (int, error) {
	if data[0] != '\r' {
		p.phase = phaseHead
		p.token = p.req.in.Pos()
		p.headEnd = p.token + maxHead
		p.state = method
		return 0, nil
	}
	if p.emptyLines++; p.emptyLines > 2 {
		return 0, ErrEmptyLines
	}
	p.state = emptyLineEnd
	return 1, nil
}

func emptyLineEnd(p *Parser, data []byte) (int, error) {
	if data[0] != '\n' {
		return 0, ErrLineEnd
	}
	p.state = beforeLine
	return 1, nil
}

// scan takes the bytes at the front of data that belong to one class. The whole token,
// which may have begun in earlier data, must not be longer than limit. end is the index of
// the first byte of another class, or -1 if more bytes must arrive to find it.
func (p *Parser) scan(data []byte, bit uint8, limit int, tooLong error) (n, end int, err error) {
	room := limit - int(p.req.in.Pos()-p.token)
	n = prefix(data[:min(len(data), room)], bit)
	switch {
	case n == len(data):
		return n, -1, nil
	case n == room && class[data[n]]&bit != 0:
		return n, -1, tooLong
	}
	return n, n, nil
}

func method(p *Parser, data []byte) (int, error) {
	n, end, err := p.scan(data, isToken, maxMethod, ErrMethodLong)
	if err != nil || end < 0 {
		return n, err
	}
	s := span{p.token, p.req.in.Pos() + stream.Pos(n)}
	if s.len() == 0 || data[end] != ' ' {
		return n, ErrMethod
	}
	p.req.method = s
	p.req.Method = methodOf(p.req.in.Bytes(s.from, s.to))
	p.token = s.to + 1
	p.state = target
	return n + 1, nil
}

func target(p *Parser, data []byte) (int, error) {
	bit := uint8(isPathByte)
	if p.query != 0 {
		bit = isQueryByte
	}
	n, end, err := p.scan(data, bit, maxTarget, ErrTargetLong)
	if err != nil || end < 0 {
		return n, err
	}
	s := span{p.token, p.req.in.Pos() + stream.Pos(n)}
	switch c := data[end]; { // c is "%" or "?" only in the path: a query may contain both
	case (c == '%' || c == '?') && s.len() == maxTarget:
		return n, ErrTargetLong
	case c == '%':
		p.state = escapeHigh
		return n + 1, nil
	case c == '?':
		p.query = s.to + 1
		return n + 1, nil
	case c != ' ' || s.len() == 0:
		return n, ErrTarget
	}
	if err := p.req.setTarget(s, p.query); err != nil {
		return n, err
	}
	p.req.version = span{s.to + 1, s.to + 1} // empty until the version is complete
	p.state, p.at = version, 0
	return n + 1, nil
}

// escapeHigh and escapeLow read the two hex digits after a "%" in the path. An escape must
// not encode a control byte (00 to 1F, or 7F).
func escapeHigh(p *Parser, data []byte) (int, error) {
	if p.at = hex(data[0]); p.at < 2 {
		return 0, ErrEscape
	}
	return p.escapeDigit(escapeLow)
}

func escapeLow(p *Parser, data []byte) (int, error) {
	if low := hex(data[0]); low < 0 || p.at == 7 && low == 0xF {
		return 0, ErrEscape
	}
	return p.escapeDigit(target)
}

func (p *Parser) escapeDigit(next state) (int, error) {
	if int(p.req.in.Pos()-p.token) == maxTarget {
		return 0, ErrTargetLong
	}
	p.state = next
	return 1, nil
}

func version(p *Parser, data []byte) (int, error) {
	const shape = "HTTP/d.d\r\n"
	for n, c := range data {
		switch want := shape[p.at]; {
		case want == 'd':
			if c < '0' || c > '9' {
				return n, ErrVersion
			}
			if p.at == 5 {
				p.major = c
			} else {
				p.req.Minor = int(c - '0')
			}
		case c != want:
			return n, ErrVersion
		}
		if p.at++; p.at == len(shape) {
			p.req.version.to = p.req.version.from + stream.Pos(len(shape)-2)
			if p.major != '1' {
				return n + 1, ErrVersionMajor
			}
			p.state = fieldStart
			return n + 1, nil
		}
	}
	return len(data), nil
}

// Field lines (RFC 9112 §5). The head and the trailers use the same states.

func fieldStart(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case c == '\r':
		p.state = fieldsEnd
		return 1, nil
	case isSpace(c):
		return 0, ErrObsFold // RFC 9112 §5.2; before the first field line, §2.2
	case p.fields == maxFields:
		return 0, ErrFieldsMany
	}
	p.fields++
	p.token = p.req.in.Pos()
	p.state = fieldName
	return 0, nil
}

// fieldName takes the bytes of a name from p.token on, up to the colon, and the colon.
func fieldName(p *Parser, data []byte) (int, error) {
	n := prefix(data, isToken)
	if n == len(data) {
		return n, nil
	}
	s := span{p.token, p.req.in.Pos() + stream.Pos(n)}
	if s.len() == 0 || data[n] != ':' {
		return n, ErrFieldName
	}
	p.name = s
	p.state = valueStart
	return n + 1, nil
}

// valueStart takes the white space before a value, and sets p.token to the byte after it.
func valueStart(p *Parser, data []byte) (int, error) {
	for n, c := range data {
		if !isSpace(c) {
			p.token = p.req.in.Pos() + stream.Pos(n)
			p.state = fieldValue
			return n, nil
		}
	}
	return len(data), nil
}

func fieldValue(p *Parser, data []byte) (int, error) {
	n := valuePrefix(data)
	if n == len(data) {
		return n, nil
	}
	if data[n] == '\n' {
		return n, ErrLineEnd
	}
	if data[n] != '\r' {
		return n, ErrFieldValue
	}
	p.valueEnd = p.req.in.Pos() + stream.Pos(n)
	p.state = valueEnd
	return n + 1, nil
}

func valueEnd(p *Parser, data []byte) (int, error) {
	if data[0] != '\n' {
		return 0, ErrLineEnd
	}
	p.state = fieldStart
	if p.phase == phaseBody {
		return 1, nil // drop the trailer: its syntax is valid, and no handler needs it
	}
	value := span{p.token, p.valueEnd}
	value.to -= stream.Pos(trailingSpaces(p.req.bytes(value)))
	f := field{p.name, value}
	p.req.fields = append(p.req.fields, f)
	return 1, p.interpret(f)
}

func fieldsEnd(p *Parser, data []byte) (int, error) {
	if data[0] != '\n' {
		return 0, ErrLineEnd
	}
	p.headEnd = 0
	if p.phase == phaseBody {
		p.phase = phaseDone
		return 1, nil
	}
	p.bodyStart = p.req.in.Pos() + 1
	return 1, p.endHead()
}

// endHead checks the rules that need the complete head, and determines the length of the
// body (RFC 9112 §6.3). It reports framing errors (400, 501) before 417 and 413, which
// tell the client that the rest of the request is valid.
func (p *Parser) endHead() error {
	r := p.req
	if !p.host && r.Minor > 0 {
		return ErrHostMissing
	}
	switch p.coding {
	case codingOther:
		return ErrCodingFinal // RFC 9112 §6.3, rule 4
	case codingMixed:
		return ErrCodingOther // RFC 9112 §6.1
	}
	if p.badExpect && r.Minor > 0 {
		return ErrExpectation
	}
	if p.length > maxBody {
		return ErrBodyLong
	}
	r.Length = p.length
	if r.Minor == 0 {
		r.keep10 = p.keepAlive && !r.close
		r.close = !r.keep10
		p.expect = false
	}
	switch {
	case p.coding == codingChunked:
		p.phase, p.state = phaseBody, chunkStart
	case p.length > 0:
		p.phase, p.state, p.left = phaseBody, bodyBytes, p.length
	default:
		p.phase = phaseDone
	}
	return nil
}

// bodyBytes takes the bytes of a body with a Content-Length. They stay in the buffer, and
// finish makes a slice of them.
func bodyBytes(p *Parser, data []byte) (int, error) {
	n := int(min(p.left, int64(len(data))))
	if p.left -= int64(n); p.left == 0 {
		p.phase = phaseDone
	}
	return n, nil
}
