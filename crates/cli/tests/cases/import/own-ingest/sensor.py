class SensorIngest(BaseStreamingIngest):
    def next(self):
        return read(self.port)


class Screen(StdoutEmit):
    pass


ingest = SensorIngest(port=context.getVariable("port"))
emit = Screen()
