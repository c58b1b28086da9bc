// usage: paella_bench products        one JSON object per line
#include <cstdio>

int main() { return 0; }
