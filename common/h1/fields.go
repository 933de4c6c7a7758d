package h1

import (
	"bytes"
	"iter"
	"math"
)

// meaning looks at the fields on which the protocol itself depends, as each line is
// complete, so that a request is refused at the line that makes it wrong.
func (p *Parser) meaning(f field) error {
	name, value := p.req.bytes(f.name), p.req.bytes(f.value)
	p.examined += int64(len(name))
	switch len(name) {
	case len("Host"):
		if equalFold(name, "Host") {
			return p.hostField(f.value)
		}
	case len("Expect"):
		if equalFold(name, "Expect") {
			p.expectField(value)
		}
	case len("Connection"):
		if equalFold(name, "Connection") {
			p.connectionField(value)
		}
	case len("Content-Type"):
		if equalFold(name, "Content-Type") {
			if p.ctype {
				return ErrTypeTwice
			}
			p.ctype = true
		}
	case len("Content-Length"):
		if equalFold(name, "Content-Length") {
			return p.lengthField(value)
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "Transfer-Encoding") {
			return p.codingField(value)
		}
	}
	return nil
}

func (p *Parser) hostField(value span) error {
	if p.host {
		return ErrHostTwice
	}
	p.examined += int64(value.len())
	if !validHost(p.req.bytes(value)) {
		return ErrHost
	}
	p.host = true
	if p.req.host.len() == 0 { // the target's authority goes first (RFC 9112 §3.2.2)
		p.req.host = value
	}
	return nil
}

// connectionField reads a list of options (RFC 9110 §7.6.1).
func (p *Parser) connectionField(value []byte) {
	p.examined += 2 * int64(len(value)) // the search for the comma, and the option itself
	for option := range elements(value) {
		switch {
		case equalFold(option, "close"):
			p.req.close = true
		case equalFold(option, "keep-alive"):
			p.keepAlive = true
		}
	}
}

// expectField reads a list of expectations, of which RFC 9110 §10.1.1 knows one. A list
// with another beside it is refused, too.
func (p *Parser) expectField(value []byte) {
	p.examined += 2 * int64(len(value))
	for e := range elements(value) {
		p.expect = true
		p.badExpect = p.badExpect || !equalFold(e, "100-continue")
	}
}

// elements yields what stands between the commas of a list, without the white space
// around it. What is empty is no element (RFC 9110 §5.6.1.2).
func elements(list []byte) iter.Seq[[]byte] {
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

// lengthField reads Content-Length: digits and nothing else, for a sign, a list or
// white space in between is where two implementations begin to disagree about where
// a body ends (RFC 9112 §6.3).
func (p *Parser) lengthField(value []byte) error {
	p.examined += int64(len(value))
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

// codingField reads Transfer-Encoding: "chunked" alone. One other coding alone is
// something this server does not have (501); any other combination is an attempt to
// be understood in two ways (400; RFC 9112 §6.1).
func (p *Parser) codingField(value []byte) error {
	p.examined += 2 * int64(len(value)) // see unknownCoding: what it trims, and what it takes
	switch {
	case p.length >= 0:
		return ErrLengthCoding
	case p.coding != codingNone:
		return ErrCoding
	case p.req.Minor == 0:
		return ErrCoding10
	case equalFold(value, "chunked"):
		p.coding = codingChunked
		return nil
	case !unknownCoding(value):
		return ErrCoding
	}
	p.coding = codingUnknown
	return nil
}

// unknownCoding tells whether value is one well-formed transfer coding that is not
// chunked: token *( OWS ";" OWS token BWS "=" BWS ( token / quoted-string ) )
// (RFC 9110 §10.1.4).
func unknownCoding(value []byte) bool {
	n := prefix(value, isToken)
	if n == 0 || equalFold(value[:n], "chunked") {
		return false
	}
	for value = TrimOWS(value[n:]); len(value) > 0; value = TrimOWS(value) {
		if value[0] != ';' {
			return false
		}
		value = TrimOWS(value[1:])
		if n = prefix(value, isToken); n == 0 {
			return false
		}
		if value = TrimOWS(value[n:]); len(value) == 0 || value[0] != '=' {
			return false
		}
		value = TrimOWS(value[1:])
		if n = prefix(value, isToken); n == 0 {
			n = quotedPrefix(value)
		}
		if n == 0 {
			return false
		}
		value = value[n:]
	}
	return true
}

// quotedPrefix returns the length of the quoted-string at the front of b, or 0.
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
