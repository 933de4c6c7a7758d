// Package resp reads replies in version 2 of RESP, the protocol of Redis and Valkey. It works
// on bytes and does no I/O. See https://redis.io/docs/latest/develop/reference/protocol-spec/.
package resp

import (
	"bytes"
	"errors"
	"strconv"
)

// Limits on the replies to one question. A reply beyond them is an error, so a wrong or hostile
// tier cannot make the server hold more.
const (
	maxBytes  = 1 << 20 // all replies together, as received
	maxValues = 4096    // all values together, those in arrays included
	maxDepth  = 4       // arrays in arrays
)

// Errors of the parser.
var (
	ErrKind   = errors.New("resp: a reply does not begin with one of + - : $ *")
	ErrLine   = errors.New("resp: a line does not end with CR LF")
	ErrNumber = errors.New("resp: a length or an integer is not a decimal number of 64 bits")
	ErrLength = errors.New("resp: a length is negative, but not -1")
	ErrLong   = errors.New("resp: the replies are longer than 1 MiB")
	ErrMany   = errors.New("resp: the replies have more than 4,096 values")
	ErrDepth  = errors.New("resp: arrays are nested more than 4 deep")
	ErrExtra  = errors.New("resp: there are bytes after the last reply")
)

// A Kind is the first byte of a value.
type Kind byte

// The kinds of values.
const (
	Simple  Kind = '+' // a short text, such as OK
	Error   Kind = '-' // a text that says what went wrong
	Integer Kind = ':'
	Bulk    Kind = '$' // any bytes
	Array   Kind = '*'
)

// A Value is one value of a reply. Its slices are valid until the parser is reset.
type Value struct {
	Kind  Kind
	Null  bool    // a bulk string or an array that does not exist
	Int   int64   // of an Integer
	Text  []byte  // of a Simple, an Error or a Bulk
	Elems []Value // of an Array
}

// A Parser reads a number of replies. It may stop at any byte, and never examines a byte twice.
// [Parser.Reset] must be called first.
type Parser struct {
	state   func(p *Parser, b []byte) (n int, err error)
	kind    Kind
	text    []byte // the memory of all texts
	start   int    // where the text of the current value begins in text
	left    int    // bytes of the current bulk string that have not arrived
	number  int64  // the absolute value of the current number
	minus   bool
	digits  bool // the current number has a digit
	taken   int  // bytes, at most maxBytes
	values  int  // at most maxValues
	arrays  []array
	failure error
}

// An array is an array that is not complete. The first one holds the replies.
type array struct {
	elems []Value
	left  int // elements that have not arrived
}

// Reset prepares p to read n replies, with n from 1 to 4,096. It drops the memory of p.
func (p *Parser) Reset(n int) {
	*p = Parser{state: (*Parser).first, arrays: []array{{left: n}}}
}

// Values returns the complete replies.
func (p *Parser) Values() []Value { return p.arrays[0].elems }

// Taken returns how many bytes p has read.
func (p *Parser) Taken() int { return p.taken }

// Parse reads further bytes. There are three outcomes: all replies are complete, or more bytes
// are needed, or an error. The outcome does not depend on how the bytes are split. p does not
// keep b.
func (p *Parser) Parse(b []byte) (done bool, err error) {
	for len(b) > 0 && p.failure == nil {
		switch room := maxBytes - p.taken; {
		case p.done():
			p.failure = ErrExtra
		case room == 0:
			p.failure = ErrLong
		default:
			var n int
			n, p.failure = p.state(p, b[:min(len(b), room)])
			p.taken += n
			b = b[n:]
		}
	}
	return p.done() && p.failure == nil, p.failure
}

func (p *Parser) done() bool { return p.arrays[0].left == 0 }

// first reads the first byte of a value.
func (p *Parser) first(b []byte) (int, error) {
	p.kind, p.start = Kind(b[0]), len(p.text)
	p.number, p.minus, p.digits = 0, false, false
	switch p.kind {
	case Simple, Error:
		p.state = (*Parser).line
	case Integer, Bulk, Array:
		p.state = (*Parser).digit
	default:
		return 0, ErrKind
	}
	return 1, nil
}

// line reads the text of a Simple or an Error.
func (p *Parser) line(b []byte) (int, error) {
	n := bytes.IndexAny(b, "\r\n")
	switch {
	case n < 0:
		p.text = append(p.text, b...)
		return len(b), nil
	case b[n] == '\n':
		return n, ErrLine
	}
	p.text = append(p.text, b[:n]...)
	p.state = (*Parser).lineEnd
	return n + 1, nil
}

// lineEnd reads the LF after a Simple or an Error.
func (p *Parser) lineEnd(b []byte) (int, error) {
	if b[0] != '\n' {
		return 0, ErrLine
	}
	return 1, p.add(Value{Kind: p.kind, Text: p.textHere()})
}

// digit reads a digit, the minus or the CR of an integer or a length.
func (p *Parser) digit(b []byte) (int, error) {
	const most = 1<<63 - 1
	switch c := b[0]; {
	case c >= '0' && c <= '9':
		d := int64(c - '0')
		if p.number > (most-d)/10 {
			return 0, ErrNumber
		}
		p.number, p.digits = p.number*10+d, true
	case c == '-' && !p.minus && !p.digits:
		p.minus = true
	case c == '\r' && p.digits:
		p.state = (*Parser).numberEnd
	default:
		return 0, ErrNumber
	}
	return 1, nil
}

// numberEnd reads the LF after an integer or a length.
func (p *Parser) numberEnd(b []byte) (int, error) {
	n := p.number
	if p.minus {
		n = -n
	}
	switch {
	case b[0] != '\n':
		return 0, ErrLine
	case p.kind == Integer:
		return 1, p.add(Value{Kind: Integer, Int: n})
	case n == -1:
		return 1, p.add(Value{Kind: p.kind, Null: true})
	case n < 0:
		return 0, ErrLength
	case p.kind == Array:
		return 1, p.open(n)
	case n > maxBytes:
		return 0, ErrLong
	}
	p.left, p.state = int(n), (*Parser).bulk
	if n == 0 {
		p.state = (*Parser).bulkCR
	}
	return 1, nil
}

// open begins an array of n elements.
func (p *Parser) open(n int64) error {
	switch {
	case n == 0:
		return p.add(Value{Kind: Array})
	case n > maxValues:
		return ErrMany
	case len(p.arrays) > maxDepth:
		return ErrDepth
	}
	p.arrays = append(p.arrays, array{left: int(n)})
	p.state = (*Parser).first
	return nil
}

// bulk reads bytes of a bulk string.
func (p *Parser) bulk(b []byte) (int, error) {
	n := min(len(b), p.left)
	p.text = append(p.text, b[:n]...)
	if p.left -= n; p.left == 0 {
		p.state = (*Parser).bulkCR
	}
	return n, nil
}

// bulkCR reads the CR after a bulk string.
func (p *Parser) bulkCR(b []byte) (int, error) {
	if b[0] != '\r' {
		return 0, ErrLine
	}
	p.state = (*Parser).lineEnd
	return 1, nil
}

// textHere returns the text of the current value. A later text that makes p.text grow leaves this one in
// its place.
func (p *Parser) textHere() []byte { return p.text[p.start:len(p.text):len(p.text)] }

// add adds a complete value to its array. If this completes the array, it is added in turn.
func (p *Parser) add(v Value) error {
	for p.state = (*Parser).first; ; {
		if p.values++; p.values > maxValues {
			return ErrMany
		}
		top := &p.arrays[len(p.arrays)-1]
		top.elems = append(top.elems, v)
		if top.left--; top.left > 0 || len(p.arrays) == 1 {
			return nil
		}
		v = Value{Kind: Array, Elems: top.elems}
		p.arrays = p.arrays[:len(p.arrays)-1]
	}
}

// AppendCommand appends a command with its arguments to b, as an array of bulk strings.
func AppendCommand(b []byte, args ...string) []byte {
	b = appendLength(b, Array, len(args))
	for _, arg := range args {
		b = appendLength(b, Bulk, len(arg))
		b = append(append(b, arg...), "\r\n"...)
	}
	return b
}

func appendLength(b []byte, kind Kind, n int) []byte {
	return append(strconv.AppendInt(append(b, byte(kind)), int64(n), 10), "\r\n"...)
}
