package pitfalls

import (
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/variants"
	"fourways.example/common/servertest/wire"
)

// These types have short names here because every scenario uses them.
type (
	Config      = process.Config
	DialOptions = process.DialOptions
	Peer        = scenario.Peer
	Place       = variants.Place
	Response    = wire.Response
	S           = scenario.S
	Scenario    = scenario.Scenario
)
