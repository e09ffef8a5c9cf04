"""Where feeds come from: each adapter fetches bytes and lets `intel` say what they mean."""
