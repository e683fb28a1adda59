// A disk that needs no time: what a request costs by itself. Preloaded for one measurement, never for data.
int fsync(int file) {
    (void)file;
    return 0;
}

int fdatasync(int file) {
    (void)file;
    return 0;
}
