"""Small exhaustive models of single rules: every state, every order of steps."""
