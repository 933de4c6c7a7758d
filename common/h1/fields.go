package h1

import (
	"bytes"
	"iter"
	"math"
)

// interpret processes a complete field line if the protocol itself depends on the field.
// It runs before the next line arrives, so an invalid field is refused at once.
func (p *Parser) interpret(f field) error {
	name, value := p.req.bytes(f.name), p.req.bytes(f.value)
	switch len(name) {
	case len("Host"):
		if EqualFold(name, "Host") {
			return p.hostField(f.value)
		}
	case len("Expect"):
		if EqualFold(name, "Expect") {
			p.expectField(value)
		}
	case len("Connection"):
		if EqualFold(name, "Connection") {
			p.connectionField(value)
		}
	case len("Content-Type"):
		if EqualFold(name, "Content-Type") {
			if p.ctype {
				return ErrTypeTwice
			}
			p.ctype = true
		}
	case len("Content-Length"):
		if EqualFold(name, "Content-Length") {
			return p.lengthField(value)
		}
	case len("Transfer-Encoding"):
		if EqualFold(name, "Transfer-Encoding") {
			return p.codingField(value)
		}
	}
	return nil
}

func (p *Parser) hostField(value span) error {
	if p.host {
		return ErrHostTwice
	}
	if !validHost(p.req.bytes(value)) {
		return ErrHost
	}
	p.host = true
	if p.req.host.len() == 0 { // the target's authority replaces Host (RFC 9112 §3.2.2)
		p.req.host = value
	}
	return nil
}

// connectionField reads a list of connection options (RFC 9110 §7.6.1).
func (p *Parser) connectionField(value []byte) {
	for option := range Elements(value) {
		switch {
		case EqualFold(option, "close"):
			p.req.close = true
		case EqualFold(option, "keep-alive"):
			p.keepAlive = true
		}
	}
}

// expectField reads a list of expectations. RFC 9110 §10.1.1 defines only 100-continue. A
// list that contains any other expectation is refused when the head is complete.
func (p *Parser) expectField(value []byte) {
	for e := range Elements(value) {
		p.expect = true
		p.badExpect = p.badExpect || !EqualFold(e, "100-continue")
	}
}

// Elements yields the elements of a comma-separated list, without the white space around
// them. It ignores empty elements (RFC 9110 §5.6.1.2). It splits at every comma, so it is
// not for lists that may contain quoted strings.
func Elements(list []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest, more := list, true; more; {
			var e []byte
			e, rest, more = bytes.Cut(rest, comma)
			if e = TrimOWS(e); len(e) > 0 && !yield(e) {
				return
			}
		}
	}
}

var comma = []byte(",")

// lengthField reads a Content-Length. It accepts digits only. Implementations interpret a
// sign, a list or inner white space in different ways and then disagree about where the
// body ends (RFC 9112 §6.3). Request smuggling uses this.
func (p *Parser) lengthField(value []byte) error {
	if len(value) == 0 {
		return ErrLength
	}
	var n int64
	for _, c := range value {
		d := int64(c) - '0'
		if d < 0 || d > 9 || n > (math.MaxInt64-d)/10 {
			return ErrLength
		}
		n = n*10 + d
	}
	if p.coding != codingNone {
		return ErrLengthCoding
	}
	if p.length >= 0 && p.length != n {
		return ErrLengthTwice
	}
	p.length = n
	return nil
}

// codingField reads a Transfer-Encoding: a list of codings (RFC 9112 §6.1), which may
// continue in further field lines. It refuses a malformed list, and "chunked" with a
// parameter, twice, or before another coding. endHead decides about the complete list.
//
// An empty element is refused, although a recipient may ignore it (RFC 9110 §5.6.1.2). Two
// implementations that read such a list in different ways would disagree about where the
// body ends.
func (p *Parser) codingField(list []byte) error {
	switch {
	case p.length >= 0:
		return ErrLengthCoding
	case p.req.Minor == 0:
		return ErrCoding10
	}
	for {
		name, n := codingPrefix(list)
		if n == 0 || !p.addCoding(name, n > len(name)) {
			return ErrCoding
		}
		list = TrimOWS(list[n:])
		switch {
		case len(list) == 0:
			return nil
		case list[0] != ',':
			return ErrCoding
		}
		list = TrimOWS(list[1:])
	}
}

// addCoding adds a coding to the list. It returns false if the coding must not follow the
// codings so far, or if it is "chunked" with parameters, which chunked does not have
// (RFC 9112 §7.1).
func (p *Parser) addCoding(name []byte, parameters bool) bool {
	switch chunked := EqualFold(name, "chunked"); {
	case p.coding == codingChunked || p.coding == codingMixed:
		return false // chunked is the last coding, and occurs once
	case !chunked:
		p.coding = codingOther
	case parameters:
		return false
	case p.coding == codingOther:
		p.coding = codingMixed
	default:
		p.coding = codingChunked
	}
	return true
}

// codingPrefix returns the name of the transfer coding at the front of b, and the length n
// of the coding with its parameters. n is 0 if there is no well-formed coding. It examines
// no byte after the coding except white space and one more byte. The grammar is in
// RFC 9110 §10.1.4:
//
//	token *( OWS ";" OWS token BWS "=" BWS ( token / quoted-string ) )
func codingPrefix(b []byte) (name []byte, n int) {
	name = b[:prefix(b, isToken)]
	n = len(name)
	for n > 0 {
		at := n + spaces(b[n:])
		if at == len(b) || b[at] != ';' {
			return name, n
		}
		at++
		size := parameterPrefix(b[at:])
		if size == 0 {
			return nil, 0
		}
		n = at + size
	}
	return nil, 0
}

// parameterPrefix returns the length of the parameter at the front of b, including the
// white space before it, or 0 if there is none.
func parameterPrefix(b []byte) int {
	at := spaces(b)
	name := prefix(b[at:], isToken)
	at += name
	at += spaces(b[at:])
	if name == 0 || at == len(b) || b[at] != '=' {
		return 0
	}
	at++
	at += spaces(b[at:])
	value := prefix(b[at:], isToken)
	if value == 0 {
		value = quotedPrefix(b[at:])
	}
	if value == 0 {
		return 0
	}
	return at + value
}

// quotedPrefix returns the length of the quoted-string at the front of b, or 0 if there
// is none.
func quotedPrefix(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return 0
}
