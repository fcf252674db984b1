package integration

import (
	"testing"

	"github.com/holdfast/holdfast/integration/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
