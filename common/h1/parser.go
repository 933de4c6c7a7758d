package h1

import "fourways.example/common/stream"

// The limits of a request, in bytes unless it says otherwise.
const (
	maxMethod    = 8 << 10
	maxTarget    = 8 << 10
	maxHead      = 64 << 10 // from the method to the empty line, both included; trailers likewise
	maxFields    = 200      // field lines in a head; in trailers likewise
	maxBody      = 1 << 20  // without the chunked coding
	maxChunkLine = 4 << 10  // without its CR LF
	maxChunkExt  = 1 << 20  // extensions of all chunks together (RFC 9112 §7.1.1)
	maxHexDigits = 16       // in a chunk size
)

// Parser reads one request from a [stream.Buffer], in as many steps as the bytes
// take to arrive. It can stop at any byte: what it knows is in its fields, as
// positions and counts, and no byte is looked at again because more bytes came.
//
// It is a machine with one function for each state. A state looks at the bytes in
// front of it, says how many it took, and sets the next state; it refuses a byte the
// moment no request could go on with it. What only a whole target or a whole field line
// can tell is judged at its end.
type Parser struct {
	req   *Request
	state state
	phase phase

	headEnd    stream.Pos // the head, or the trailers, must end before this position
	token      stream.Pos // where the token being read begins
	valueEnd   stream.Pos // behind the value and the white space that may follow it
	name       span       // the field name, once it is read
	query      stream.Pos // behind the target's "?", or 0
	emptyLines int        // before the request line
	fields     int        // field lines so far, in this head or these trailers
	at         int        // progress within a state: bytes of the version, digits of a size …

	major     byte  // the version's first digit
	host      bool  // a Host field was seen
	ctype     bool  // a Content-Type field was seen
	length    int64 // Content-Length, or -1
	coding    coding
	keepAlive bool // Connection: keep-alive
	badExpect bool // Expect with something else than 100-continue
	expect    bool // Expect: 100-continue

	bodyStart stream.Pos // the first byte behind the head
	left      int64      // bytes to come, of the body or of the chunk
	chunkSize uint64
	chunkLine int    // bytes of the chunk line so far
	chunkExt  int    // bytes of chunk extensions so far
	body      []byte // a chunked body, decoded; its memory is reused

	examined int64 // bytes looked at, each as often as it was, for the test that bounds them
}

// state looks at data, which is never empty, and returns how many bytes of it were
// taken. Taking none is allowed only together with a change of state.
type state func(p *Parser, data []byte) (int, error)

// phase is how far a request has come, which decides the time-out that is running.
type phase uint8

const (
	phaseBefore phase = iota // no byte of the request line
	phaseHead
	phaseBody
	phaseDone
)

// coding is what Transfer-Encoding said.
type coding uint8

const (
	codingNone coding = iota
	codingChunked
	codingUnknown
)

// Reset makes p ready to read a new request into req from in. Memory is kept.
func (p *Parser) Reset(req *Request, in *stream.Buffer) {
	req.reset(in)
	*p = Parser{req: req, state: beforeLine, length: -1, body: p.body[:0], examined: p.examined}
}

// Parse reads on. It has three outcomes: the request is complete (true), more bytes
// are needed (false), or the request is refused with an [*Error]. Once it is complete
// or refused, Reset comes before the next call.
//
// Any way of splitting the input gives the same request, the same error and the same
// read position in in.
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
		p.examined += int64(max(n, 1)) // also a byte that was looked at and not taken
		in.Advance(n)
		if err != nil {
			return false, err
		}
		// A head whose last allowed byte was not its end is too long, whatever follows.
		if p.headEnd > 0 && in.Pos() == p.headEnd {
			return false, ErrHeadLong
		}
	}
	if p.coding == codingChunked && p.phase == phaseBody {
		in.Cut(p.bodyStart) // decoded, or dropped: nothing behind the head is needed
	}
	if p.phase == phaseDone {
		p.finish(in)
	}
	return p.phase == phaseDone, nil
}

// finish hands the body to the request.
func (p *Parser) finish(in *stream.Buffer) {
	switch {
	case p.coding == codingChunked:
		p.req.Body = p.body
	case p.length > 0:
		p.req.Body = in.Bytes(p.bodyStart, p.bodyStart+stream.Pos(p.length))
	}
}

// untouched tells whether no byte was taken since Reset.
func (p *Parser) untouched() bool { return p.phase == phaseBefore && p.emptyLines == 0 }

// wants returns how many bytes of the request are certain to come still; 0 if that is
// not known.
func (p *Parser) wants(in *stream.Buffer) int {
	if p.phase != phaseBody || p.coding != codingNone {
		return 0
	}
	return int(p.left)
}

// The request line (RFC 9112 §3).

// beforeLine skips the empty lines that some clients send behind a body (RFC 9112 §2.2).
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

// until takes bytes of one class up to a limit for the whole token, and tells whether
// a byte of another class follows: end is the index of that byte, or -1 for none yet.
func (p *Parser) until(data []byte, bit uint8, limit int, tooLong error) (n, end int, err error) {
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
	n, end, err := p.until(data, isToken, maxMethod, ErrMethodLong)
	if err != nil || end < 0 {
		return n, err
	}
	s := span{p.token, p.req.in.Pos() + stream.Pos(n)}
	if s.len() == 0 || data[end] != ' ' {
		return n, ErrMethod
	}
	p.req.method = s
	p.examined += int64(s.len())
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
	n, end, err := p.until(data, bit, maxTarget, ErrTargetLong)
	if err != nil || end < 0 {
		return n, err
	}
	s := span{p.token, p.req.in.Pos() + stream.Pos(n)}
	switch c := data[end]; { // in a query, "%" and "?" are bytes like any other
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
	p.examined += 2 * int64(s.len())
	if err := p.req.setTarget(s, p.query); err != nil {
		return n, err
	}
	p.req.version = span{s.to + 1, s.to + 1} // nothing, until it is complete
	p.state, p.at = version, 0
	return n + 1, nil
}

// escapeHigh and escapeLow read the two hex digits behind a "%" of the path, which may
// not stand for a control byte: one that begins with 0 or 1, or 7F.
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

// Field lines (RFC 9112 §5), in the head and in the trailers.

func fieldStart(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case c == '\r':
		p.state = fieldsEnd
		return 1, nil
	case isSpace(c):
		return 0, ErrObsFold // RFC 9112 §5.2; also in front of the first field, §2.2
	case p.fields == maxFields:
		return 0, ErrFieldsMany
	}
	p.fields++
	p.token = p.req.in.Pos()
	p.state = fieldName
	return 0, nil
}

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
		return 1, nil // a trailer: it was checked, and is dropped
	}
	value := span{p.token, p.valueEnd}
	value.to -= stream.Pos(spacesBehind(p.req.bytes(value)))
	p.examined += int64(p.valueEnd-value.to) + 1
	f := field{p.name, value}
	p.req.fields = append(p.req.fields, f)
	return 1, p.meaning(f)
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

// endHead judges what only the whole head can tell, and finds out how long the body
// is (RFC 9112 §6.3). Framing comes first: an answer of 417 or 413 means that the rest
// was understood.
func (p *Parser) endHead() error {
	r := p.req
	if !p.host && r.Minor > 0 {
		return ErrHostMissing
	}
	if p.coding == codingUnknown {
		return ErrCodingOther
	}
	if p.badExpect && r.Minor > 0 {
		return ErrExpectation
	}
	if p.length > maxBody {
		return ErrBodyLong
	}
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

// bodyBytes passes over a body with a length: it stays in the buffer.
func bodyBytes(p *Parser, data []byte) (int, error) {
	n := int(min(p.left, int64(len(data))))
	if p.left -= int64(n); p.left == 0 {
		p.phase = phaseDone
	}
	return n, nil
}
