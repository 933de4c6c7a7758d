package exercise

import "strings"

// common returns the exercises about the code that all stages share.
func common() []Exercise {
	return []Exercise{
		{
			ID: "buffer", Title: "Room in the buffer", Stage: 1, Minutes: 30,
			Cuts:    []Functions{{"common/stream/buffer.go", []string{"Buffer.Fill", "Buffer.Grow"}}},
			Missing: "read once, and make room first if the buffer is full",
			Check:   []Tests{unit("stream", "TestBufferAgainstModel", "TestPosSurvivesMoves", "TestFillReadsOnce", "TestCutKeepsBothSides", "TestSteadyStateDoesNotGrow", "TestFillDoublesAFullBuffer", "ExampleBuffer")},
			Hints: [3]string{
				"Draw the picture in the comment of Buffer with numbers: start 4, r 6, w 8, and an array of 8 bytes. Which bytes must stay, and where is memory that nobody needs any more?",
				"Fill has three situations: there is free memory at the end; there is none, but discarded memory at the front; there is neither. Only in the third must the array become larger. A buffer that doubles each time can take a long stream with few copies.",
				"Grow keeps the bytes from start to w and puts them at index 0 of the same array or of a larger one. copy allows that source and destination overlap. All three indexes move by the same amount. base and pos are positions in the stream, so they do not move.",
			},
			Read: []string{"docs/design.md, Bytes by position", "the comments of Buffer, and of the methods after Grow"},
		},
		{
			ID: "eintr", Title: "A signal interrupts a call", Stage: 1, Minutes: 15,
			Cuts:    []Functions{{"common/sock/sock.go", []string{"retry", "retryErr"}}},
			Missing: "make the call again for as long as a signal interrupts it",
			Check: []Tests{
				unit("sock", "TestRetry", "TestPollDuringSignals", "TestReadAtTheEnd", "TestErrorsNameTheirCall"),
				unit("sock", "TestBlockingCallsDuringSignals"),
			},
			Hints: [3]string{
				"A blocked call returns early if a signal handler has run. The call has then done nothing, and its error is EINTR. See signal(7), the section about interruption of system calls.",
				"The Go runtime sends signals to its own threads to preempt goroutines, so one repetition is not enough: the next attempt can be interrupted, too.",
				"Compare the error with unix.EINTR. Any other error, and success, goes to the caller unchanged. retryErr is the same with one result.",
			},
			Read: []string{"the comment of package sock", "common/servertest/pitfalls/goside/testdata/pitfalls/eintr-is-yours/README.md", "signal(7)"},
		},
		{
			ID: "field-line", Title: "States of a parser", Stage: 1, Minutes: 45,
			Cuts:    []Functions{{"common/h1/parser.go", []string{"fieldName", "valueStart", "fieldValue"}}},
			Missing: "take the bytes of this part of a field line, and set the next state",
			Check: []Tests{ // without the rows that have chunks: the exercise after this one cuts their states
				subtests("h1", "TestParserAccepts", "values:", "spaces_around_a_value"),
				subtests("h1", "TestParserRefuses", "white_space_before", "no_name", "no_colon", "space_before", "tab_before", "a_name", "a_high_byte",
					"NUL", "control_byte_in_a_value", "VT", "DEL", "bare_"),
				unit("h1", "TestRequestFields", "TestConnectionOptions"),
			},
			Hints: [3]string{
				"Read the type state and the functions method and fieldStart first. A state may get one byte of a name or all of it. It returns how many bytes it has taken, and what it needs later is in the fields of Parser.",
				"If data ends inside the name or the value, take all of it, and leave the state as it is. Otherwise the first byte of another class decides: which byte may follow a name, and which a value? There are different errors for a bare LF and for another byte that a value cannot have.",
				"p.token is where the name began, and valueStart sets it anew: to the first byte of the value, after the white space. The position of data[n] is p.req.in.Pos() and n more. valueEnd, which is still there, shows which fields it expects: p.name, p.token and p.valueEnd.",
			},
			Read: []string{"docs/design.md, The parser", "RFC 9112, section 5: https://www.rfc-editor.org/rfc/rfc9112#section-5", "docs/spec.md, Field lines", "common/h1/chars.go", "common/h1/errors.go"},
		},
		{
			ID: "chunked", Title: "Chunked bodies", Stage: 1, Minutes: 45,
			Cuts:    []Functions{{"common/h1/chunked.go", []string{"chunkDigits", "chunkLineEnd", "chunkData", "chunkDataCR", "chunkDataLF"}}},
			Missing: "decode this part of a chunk, and set the next state",
			Check: []Tests{
				unit("h1", "TestParserAccepts", "TestParserRefuses", "TestParserNeedsMore", "TestParserLargeBodies"),
				subtests("h1", "TestParserLimits", "chunk", "last_chunk", "a_chunk", "trailers", "20._trailers", "200_fields_and"),
			},
			Hints: [3]string{
				"The comment at the top of chunked.go has the grammar. Follow one chunk, 5 CR LF hello CR LF, through the states: which state takes which byte? chunkStart and the states of the extensions are still there.",
				"A size has at least one digit and at most maxHexDigits. After the last digit, any other byte is for the state afterToken, which does not get it taken: return without it. A chunk of size 0 is the last, and trailers follow, with the states of the head and its limits.",
				"chunkLineEnd has three ends: the last chunk (set headEnd, fields, and the state fieldStart), a body that would become longer than maxBody, and a usual chunk (p.left). Compare in unsigned numbers, because the client chooses all 64 bits. chunkData copies to p.body, at most p.left bytes.",
			},
			Read: []string{"RFC 9112, section 7.1: https://www.rfc-editor.org/rfc/rfc9112#section-7.1", "docs/spec.md, Chunks", "common/h1/errors.go", "common/h1/parser.go, the limits"},
		},
		{
			ID: "short-write", Title: "The kernel takes a part", Stage: 1, Minutes: 30,
			Cuts:    []Functions{{"common/h1/respond.go", []string{"Conn.send"}}},
			Missing: "make one system call for the next bytes of the response, and remember how many the kernel took",
			Check:   []Tests{unit("h1", "TestParts"), unit("h1", "TestMoreFollows", "TestLargeFileInSteps", "TestOnePiece", "TestShrunkFile", "TestClientClosesDuringResponse", "TestResponsesShareASend", "TestFilesAreReleasedOnce")},
			Hints: [3]string{
				"A response is ex.out, from ex.outSent on, and then the parts of ex.res from ex.part on. Each call of send continues where the one before has stopped, because the kernel may take fewer bytes than it is offered.",
				"There are three cases: the rest of out; a part that is a file, with Sendfile and at most sendfileStep bytes; a part in memory, with ex.res.memory and skip. A file that ends too early is errShrunk. The flag of Send says whether more bytes of this response follow.",
				"Count n even if there is an error: Send returns 0 then. A part's n falls by the bytes that were taken, and at 0 it is the next part's turn. offered is what you asked the kernel to take, and the caller compares it with n.",
			},
			Read: []string{"docs/design.md, Sending", "docs/reading-traces.md, A short write", "common/h1/response.go, part", "common/h1/worker.go, exchange", "send(2), sendfile(2)"},
		},
		{
			ID: "accept-errors", Title: "What an error of accept means", Stage: 1, Minutes: 20,
			Cuts:    []Functions{{"common/sock/listener.go", []string{"ClassifyAcceptError"}}},
			Missing: "say for each error of accept(2) what the server must do",
			Check:   []Tests{unit("sock", "TestClassifyAcceptError", "TestShutdownWakesAccept")},
			Hints: [3]string{
				"Read accept(2) to its end. Which errors are about the listening socket, which about the one connection that was being accepted, and which about the machine?",
				"Linux passes errors of the new connection on to accept, see the paragraph Error handling of the page. To stop because of one of them would let any client end the server. To try again at once when descriptors have run out would use all of a CPU.",
				"The error is wrapped: errors.Is finds the number in it. EINVAL and EBADF come from a listener that is shut down or closed. The page's paragraph lists the errors of a connection; add ECONNABORTED, EPERM and ETIMEDOUT. For an unknown error, see the function's comment.",
			},
			Read: []string{"accept(2), Error handling", "the comments of AcceptError and its classes"},
		},
	}
}

// subtests returns the subtests of a test of common whose names begin with one of the prefixes.
func subtests(pkg, test string, prefixes ...string) Tests {
	return Tests{Dir: "common", Package: "./" + pkg, Run: test + "$/^(" + strings.Join(prefixes, "|") + ")"}
}

// unit returns tests of a package of common.
func unit(pkg string, names ...string) Tests {
	return Tests{Dir: "common", Package: "./" + pkg, Run: anyOf(names)}
}
