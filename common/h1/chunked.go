package h1

// The chunked transfer coding (RFC 9112 §7.1), one function for each state.
//
//	chunk     = 1*HEXDIG [ extension ] CRLF data CRLF
//	extension = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
//
// Implementations that were lenient here have been tricked into seeing a request
// where their neighbour saw a chunk, so nothing is allowed that the grammar does not
// allow. Extensions mean nothing to this server and are dropped.

func chunkStart(p *Parser, data []byte) (int, error) {
	p.chunkSize, p.chunkLine, p.at = 0, 0, 0
	p.state = chunkDigits
	return 0, nil
}

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

// extByte takes one byte of an extension. The line's length is limited, and so are all
// extensions together: a client could send thousands of bytes with each byte of data.
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

// afterToken stands behind the size, or behind a whole extension.
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

// chunkLineError tells a bad size from a bad extension.
func (p *Parser) chunkLineError() error {
	if p.chunkLine == p.at {
		return ErrChunkSize
	}
	return ErrChunkExt
}

// extSpace stands behind white space where only a further extension may follow.
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

// extNameSpace stands behind a name and white space: "=" or a further extension.
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
	if p.chunkSize == 0 { // the last chunk: trailers follow
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
