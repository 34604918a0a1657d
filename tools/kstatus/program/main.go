// Judges Kubernetes objects as kstatus does: a JSON array of objects on the standard input, one of results on the output.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type result struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var bodies []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&bodies); err != nil {
		return err
	}
	results := make([]result, 0, len(bodies))
	for number, body := range bodies {
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(body); err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		computed, err := status.Compute(&object)
		if err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		results = append(results, result{computed.Status.String(), computed.Message})
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}
