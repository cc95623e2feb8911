"""What tests share: bundles whose every answer is known, suspects, servers, builders."""
