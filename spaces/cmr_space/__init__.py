"""What the Space does, apart from its page: receive, work, show, and forget."""
