package h1

// The chunked transfer coding (RFC 9112 §7.1), one function for each state.
//
//	chunk     = 1*HEXDIG [ extension ] CRLF data CRLF
//	extension = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
//
// These states accept exactly this grammar. If a server accepts more than the proxy in
// front of it, an attacker can hide a request in bytes that the proxy takes for a chunk
// (request smuggling). The server ignores extensions.

func chunkStart(p *Parser, data []byte) (int, error) {
	p.chunkSize, p.chunkLine, p.at = 0, 0, 0
	p.state = chunkDigits
	return 0, nil
}

// chunkDigits takes the digits of a size, and counts them in p.at. For the limit of the chunk line
// they count, too: extByte goes on from p.chunkLine.
func chunkDigits(p *Parser, data []byte) (int, error) {
	for n, c := range data {
		digit := hex(c)
		switch {
		case digit < 0 && p.at == 0:
			return n, ErrChunkSize
		case digit < 0:
			p.chunkLine = p.at
			p.state = afterToken
			return n, nil
		case p.at == maxHexDigits:
			return n, ErrChunkSize
		}
		p.chunkSize = p.chunkSize<<4 | uint64(digit)
		p.at++
	}
	return len(data), nil
}

// extByte takes one byte of an extension. It limits the length of the chunk line, and the
// length of all extensions together: a client could send 4 KiB of extensions with each
// byte of data.
func (p *Parser) extByte(next state) (int, error) {
	if p.chunkLine++; p.chunkLine > maxChunkLine {
		return 0, ErrChunkLine
	}
	if p.chunkExt++; p.chunkExt > maxChunkExt {
		return 0, ErrChunkExts
	}
	p.state = next
	return 1, nil
}

// afterToken is the state after the chunk size and after each complete extension.
func afterToken(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case c == '\r':
		p.state = chunkLineEnd
		return 1, nil
	case c == ';':
		return p.extByte(extNameStart)
	case isSpace(c):
		return p.extByte(extSpace)
	}
	return 0, p.chunkLineError()
}

// chunkLineError returns ErrChunkSize if the chunk line has only digits so far, and
// ErrChunkExt if an extension has begun.
func (p *Parser) chunkLineError() error {
	if p.chunkLine == p.at {
		return ErrChunkSize
	}
	return ErrChunkExt
}

// extSpace is the state after white space that only another extension may follow.
func extSpace(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case c == ';':
		return p.extByte(extNameStart)
	case isSpace(c):
		return p.extByte(extSpace)
	}
	return 0, ErrChunkExt
}

func extNameStart(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case isSpace(c):
		return p.extByte(extNameStart)
	case class[c]&isToken != 0:
		return p.extByte(extName)
	}
	return 0, ErrChunkExt
}

func extName(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case class[c]&isToken != 0:
		return p.extByte(extName)
	case c == '=':
		return p.extByte(extValueStart)
	case isSpace(c):
		return p.extByte(extNameSpace)
	}
	return afterToken(p, data)
}

// extNameSpace is the state after the name of an extension and white space. A "=" or
// another extension may follow.
func extNameSpace(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case c == '=':
		return p.extByte(extValueStart)
	case isSpace(c):
		return p.extByte(extNameSpace)
	}
	return extSpace(p, data)
}

func extValueStart(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case isSpace(c):
		return p.extByte(extValueStart)
	case c == '"':
		return p.extByte(extQuoted)
	case class[c]&isToken != 0:
		return p.extByte(extValue)
	}
	return 0, ErrChunkExt
}

func extValue(p *Parser, data []byte) (int, error) {
	if class[data[0]]&isToken != 0 {
		return p.extByte(extValue)
	}
	return afterToken(p, data)
}

func extQuoted(p *Parser, data []byte) (int, error) {
	switch c := data[0]; {
	case c == '"':
		return p.extByte(afterToken)
	case c == '\\':
		return p.extByte(extQuotedPair)
	case class[c]&isQuotedText != 0:
		return p.extByte(extQuoted)
	}
	return 0, ErrChunkExt
}

func extQuotedPair(p *Parser, data []byte) (int, error) {
	if !isControl(data[0]) {
		return p.extByte(extQuoted)
	}
	return 0, ErrChunkExt
}

func chunkLineEnd(p *Parser, data []byte) (int, error) {
	if data[0] != '\n' {
		return 0, ErrLineEnd
	}
	if p.chunkSize == 0 { // the last chunk; the trailers follow
		p.headEnd = p.req.in.Pos() + 1 + maxHead
		p.fields = 0
		p.state = fieldStart
		return 1, nil
	}
	if p.chunkSize > uint64(maxBody-len(p.body)) {
		return 1, ErrBodyLong
	}
	p.left = int64(p.chunkSize)
	p.state = chunkData
	return 1, nil
}

func chunkData(p *Parser, data []byte) (int, error) {
	n := int(min(p.left, int64(len(data))))
	p.body = append(p.body, data[:n]...)
	if p.left -= int64(n); p.left == 0 {
		p.state = chunkDataCR
	}
	return n, nil
}

func chunkDataCR(p *Parser, data []byte) (int, error) {
	if data[0] != '\r' {
		return 0, ErrChunkEnd
	}
	p.state = chunkDataLF
	return 1, nil
}

func chunkDataLF(p *Parser, data []byte) (int, error) {
	if data[0] != '\n' {
		return 0, ErrChunkEnd
	}
	p.state = chunkStart
	return 1, nil
}
